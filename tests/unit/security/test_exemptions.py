"""Exemptions of single checks: whom they cover, until when, and what is said of them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from sampan.security.admission import PodSecurityRules, Request
from sampan.security.exemptions import CRD, is_over
from sampan.security.levels import PREFIX

NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
RULES = PodSecurityRules(37)
BASELINE = RULES.policy({f"{PREFIX}enforce": "baseline", f"{PREFIX}audit": "baseline"})


def request(**labels: str) -> Request:
    spec = {
        "hostPID": True,
        "hostNetwork": True,
        "containers": [{"name": "c", "securityContext": {"privileged": True}}],
    }
    return Request("", "Pod", "shop", "jane", {"metadata": {"name": "web", "labels": labels}, "spec": spec})


def exemption(*checks: str, name: str = "x", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"checks": list(checks), "reason": "because", **spec}}


BOTH = ("privileged", "hostNamespaces")


@pytest.mark.parametrize(
    ("exemptions", "refused"),
    [
        ([], True),
        ([exemption(*BOTH)], False),
        ([exemption("privileged"), exemption("hostNamespaces", name="y")], False),
        ([exemption("privileged")], True),
        ([exemption(*BOTH, selector={"matchLabels": {"app": "node"}})], False),
        ([exemption(*BOTH, selector={"matchLabels": {"app": "other"}})], True),
        ([exemption(*BOTH, selector={"matchExpressions": [{"key": "app", "operator": "Odd"}]})], True),
        ([exemption(*BOTH, expires="2020-01-01T00:00:00Z")], True),
        ([exemption(*BOTH, expires="2999-01-01T00:00:00Z")], False),
    ],
)
def test_whom_they_cover(exemptions: list[dict[str, Any]], refused: bool) -> None:
    outcome = RULES.judge(request(app="node"), BASELINE, exemptions)
    assert bool(outcome.refusal) is refused
    if exemptions == [exemption("privileged")]:
        assert "privileged" not in outcome.refusal.partition(": ")[2] and "host namespaces" in outcome.refusal
        assert outcome.annotations["exempt-checks"] == "privileged by x"


@pytest.mark.parametrize(
    ("expires", "over"),
    [
        (None, False),
        ("2026-11-29T23:59:59Z", True),
        ("2026-11-30T00:00:01Z", False),
        ("2026-11-30T02:00:00+01:00", False),
        ("soon", True),
        ("2026-12-30T00:00:00", True),
    ],
)
def test_when_they_end(expires: str | None, over: bool) -> None:
    assert is_over(expires, NOW) is over


def test_the_kind_names_every_check() -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert "capabilities_restricted" in schema["properties"]["spec"]["properties"]["checks"]["items"]["enum"]
