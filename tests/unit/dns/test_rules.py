"""``rewrite``, ``hosts`` and ``k8s_gateway``: what is put before the cluster's own names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sampan.dns.corefile.configuration import read
from sampan.dns.gateway_names import named
from sampan.dns.responder import Responder

from .cluster import Cluster, ask, code, data, query

KUBERNETES = "kubernetes cluster.local in-addr.arpa {\n ttl 5\n}\n"


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.namespace("shop")
    made.service("web", clusterIP="10.240.64.7")
    return made


def responder(cluster: Cluster, lines: str) -> Responder:
    return cluster.responder(f". {{\n{lines}\n{KUBERNETES}}}\n")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("name web.example web.shop.svc.cluster.local", "web.example"),
        ("name exact Web.Example. web.shop.svc.cluster.local.", "WEB.example"),
        ("name suffix .shop.example .shop.svc.cluster.local", "web.shop.example"),
        ("name suffix .shop.example .shop.svc.cluster.local answer auto", "web.shop.example"),
        ("name prefix www. web.", "www.shop.svc.cluster.local"),
        ("name substring -internal. .", "web-internal.shop.svc.cluster.local"),
        (r"name regex (.*)\.at\.(.*)\.example {1}.{2}.svc.cluster.local", "web.at.shop.example"),
        ("continue name a.example b.example\nrewrite name b.example web.shop.svc.cluster.local", "a.example"),
        ("stop {\n name suffix .shop.example .shop.svc.cluster.local\n answer auto\n}", "web.shop.example"),
    ],
)
def test_names_are_rewritten_there_and_back(cluster: Cluster, rule: str, name: str) -> None:
    answer = ask(responder(cluster, f"rewrite {rule}"), name)
    assert data(answer) == ["10.240.64.7"]
    assert str(answer.answer[0].name).lower() == f"{name.lower()}.", "a resolver believes what it asked for"


def test_the_first_rule_that_stops_counts(cluster: Cluster) -> None:
    rules = "rewrite name a.example b.example\nrewrite name b.example web.shop.svc.cluster.local"
    assert code(ask(responder(cluster, rules), "a.example")) == "REFUSED"


def test_types_times_and_codes(cluster: Cluster) -> None:
    one = responder(cluster, "rewrite type AAAA A")
    assert data(ask(one, "web.shop.svc.cluster.local", "AAAA")) == ["10.240.64.7"]
    for given, ttl in (("30", 30), ("30-300", 30), ("-2", 2), ("1-", 5)):
        one = responder(cluster, f"rewrite ttl suffix .cluster.local {given}")
        assert ask(one, "web.shop.svc.cluster.local").answer[0].ttl == ttl
    one = responder(cluster, "rewrite rcode suffix .cluster.local NXDOMAIN REFUSED")
    assert code(ask(one, "no.shop.svc.cluster.local")) == "REFUSED"


def test_values_of_answers(cluster: Cluster) -> None:
    rule = r"rewrite name suffix .arpa .arpa answer value (.*)\.svc\.cluster\.local {1}.example"
    answer = ask(responder(cluster, rule), "7.64.240.10.in-addr.arpa", "PTR")
    assert data(answer, "PTR") == ["web.shop.example."]
    rule = (
        r"rewrite stop {"
        + "\n name regex (.*)\\.x {1}.svc.cluster.local\n answer name (.*)\\.svc\\.cluster\\.local {1}.y\n}"
    )
    assert data(ask(responder(cluster, rule), "web.shop.x")) == ["10.240.64.7"]


def test_names_that_no_rule_touches_stay_quick(cluster: Cluster) -> None:
    one = responder(cluster, "rewrite name suffix .example .shop.svc.cluster.local")
    asked = query("web.shop.svc.cluster.local")
    assert one.quick(asked) is None
    first = one.slowly(asked, None)  # type: ignore[arg-type]
    assert one.quick(asked) == first


HOSTS = "hosts {\n 10.0.0.1 a.example Alias.example\n fd00::1 a.example\n 10.0.0.2 *.apps.example\n ttl 7\n fallthrough\n}\n"


def test_hosts_in_the_corefile(cluster: Cluster) -> None:
    one = responder(cluster, HOSTS)
    answer = ask(one, "a.example")
    assert (data(answer), answer.answer[0].ttl) == (["10.0.0.1"], 7)
    assert data(ask(one, "A.Example", "AAAA"), "AAAA") == ["fd00::1"]
    assert (code(ask(one, "alias.example", "AAAA")), data(ask(one, "alias.example"))) == ("NOERROR", ["10.0.0.1"])
    assert data(ask(one, "x.apps.example")) == ["10.0.0.2"]
    assert code(ask(one, "y.x.apps.example")) == "REFUSED", "one label only, and nobody else to ask"
    assert data(ask(one, "1.0.0.10.in-addr.arpa", "PTR"), "PTR") == ["a.example.", "alias.example."]
    assert data(ask(one, "web.shop.svc.cluster.local")) == ["10.240.64.7"]


def test_a_hosts_file_is_read_again_when_it_changes(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("10.0.0.1 a.example\n10.0.0.9 b.example\n")
    one = responder(cluster, f"hosts {file} example {{\n 10.0.0.5 b.example\n reload 1s\n}}")
    now = 0.0
    one._now = lambda: now  # type: ignore[method-assign]
    assert data(ask(one, "a.example")) == ["10.0.0.1"]
    assert data(ask(one, "b.example")) == ["10.0.0.5"], "what the Corefile says counts"
    assert code(ask(one, "c.example")) == "NXDOMAIN", "without fallthrough the zone is theirs"
    file.write_text("10.0.0.2 a.example\n")
    os.utime(file, (1, 1))
    assert data(ask(one, "a.example")) == ["10.0.0.1"]
    now = 2.0
    assert data(ask(one, "a.example")) == ["10.0.0.2"]
    file.unlink()
    now = 4.0
    assert code(ask(one, "a.example")) == "NXDOMAIN" and data(ask(one, "b.example")) == ["10.0.0.5"]


def obj(name: str, spec: Any, status: Any = None, **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "annotations": annotations}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


INGRESS = {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}
EXTERNAL_DNS = {"external-dns.alpha.kubernetes.io/hostname": "pay.example, Also.example"}
OBJECTS = [
    ("Service", obj("front", {"type": "LoadBalancer"}, INGRESS, **EXTERNAL_DNS)),
    ("Service", obj("inner", {"type": "ClusterIP", "clusterIP": "10.240.64.9"})),
    ("Ingress", obj("old", {"rules": [{"host": "old.example"}, {}]}, INGRESS)),
    (
        "Gateway",
        obj(
            "gate",
            {"listeners": [{"hostname": "*.shop.example"}]},
            {"addresses": [{"value": "10.9.0.2"}, {"value": "x"}]},
        ),
    ),
    ("HTTPRoute", obj("route", {"hostnames": ["api.other.example"], "parentRefs": [{"name": "gate"}]})),
]


@pytest.fixture
def gateway(cluster: Cluster) -> Responder:
    made = responder(cluster, "k8s_gateway example {\n ttl 9\n}\n")
    names = made.ways[0].gateway
    assert names is not None
    for kind, one in OBJECTS:
        names.take(kind, f"shop/{one['metadata']['name']}", named(kind, one))
    return made


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("front.shop.example", ["10.9.0.1"]),
        ("pay.example", ["10.9.0.1"]),
        ("also.example", ["10.9.0.1"]),
        ("old.example", ["10.9.0.1"]),
        ("a.b.shop.example", ["10.9.0.2"]),
        ("api.other.example", ["10.9.0.2"]),
    ],
)
def test_names_of_gateways(gateway: Responder, name: str, addresses: list[str]) -> None:
    answer = ask(gateway, name)
    assert (data(answer), answer.answer[0].ttl) == (addresses, 9)
    assert code(ask(gateway, name, "AAAA")) == "NOERROR"


def test_names_of_gateways_that_are_not_there(gateway: Responder) -> None:
    assert code(ask(gateway, "nothing.example")) == "NXDOMAIN"
    assert code(ask(gateway, "other.example")) == "NOERROR", "there is one below it"
    assert code(ask(gateway, "example.org")) == "REFUSED"
    names = gateway.ways[0].gateway
    assert names is not None
    names.take("Gateway", "shop/gate", None)
    assert data(ask(gateway, "api.other.example")) == []


def test_a_block_of_a_name_below_the_clusters_takes_it(cluster: Cluster) -> None:
    text = f". {{\n{KUBERNETES}}}\nlegacy.svc.cluster.local {{\n hosts {{\n  10.0.0.9 web.legacy.svc.cluster.local\n }}\n}}\n"
    cluster.namespace("legacy")
    cluster.service("web", namespace="legacy", clusterIP="10.240.64.9")
    one = cluster.responder(read(text))
    assert data(ask(one, "web.legacy.svc.cluster.local")) == ["10.0.0.9"]
    assert data(ask(one, "web.shop.svc.cluster.local")) == ["10.240.64.7"]
