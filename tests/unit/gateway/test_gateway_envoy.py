"""What Envoy is started with: how many clients it lets in, and what it counts under which labels."""

from __future__ import annotations

import re
import resource

import pytest

from sampan.gateway import envoy
from sampan.gateway.stats import PLACES, gateway_prefix, route_prefix, stats_config


@pytest.mark.parametrize(("hard", "most"), [(resource.RLIM_INFINITY, 1_000_000), (4096, 1948), (64, 10)])
def test_clients_leave_descriptors_for_backends(hard: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (32, hard))
    assert envoy.connection_limit()["max_active_downstream_connections"] == most


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (
            f"http.{gateway_prefix('shop/front.door', 443)}.downstream_rq_2xx",
            {"gateway_namespace": "shop", "gateway_name": "front_door", "gateway_port": "443"},
        ),
        (
            "cluster.shop/web/80.upstream_rq_total",
            {"service_namespace": "shop", "service_name": "web", "service_port": "80"},
        ),
        (
            "cluster.shop/web/80/h2.upstream_rq_5xx",
            {"service_namespace": "shop", "service_name": "web", "service_port": "80"},
        ),
        ("cluster.sampan/admin.upstream_rq_total", {}),
        (
            f"vhost.*.wide.example.route.{route_prefix('shop/a.route.b', 12)}.upstream_rq_2xx",
            {"host": "*.wide.example", "route_namespace": "shop", "route_name": "a_route_b", "route_rule": "12"},
        ),
    ],
)
def test_names_are_taken_apart_into_labels(name: str, labels: dict[str, str]) -> None:
    found = {label: match[2] for label, expression in PLACES.items() if (match := re.search(expression, name))}
    assert found == labels
    patterns = stats_config()["stats_matcher"]["inclusion_list"]["patterns"]
    assert any(
        name.startswith(one["prefix"]) if "prefix" in one else re.fullmatch(one["safe_regex"]["regex"], name)
        for one in patterns
    )
