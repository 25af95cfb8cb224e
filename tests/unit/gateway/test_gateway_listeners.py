"""Gateways, ListenerSets, their conflicts, and what their status says."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.gateway.infrastructure import Port, Ports, generated_name
from sampan.gateway.model.hostnames import shared
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, LISTENER

from .situation import BACKEND, HTTP, Situation, gateway, obj, path_rule, route, service


@pytest.mark.parametrize(
    ("listener", "name", "both"),
    [
        ("*", "*", "*"),
        ("*", "a.example", "a.example"),
        ("a.example", "*", "a.example"),
        ("a.example", "a.example", "a.example"),
        ("a.example", "b.example", ""),
        ("*.example", "a.example", "a.example"),
        ("*.example", "a.b.example", "a.b.example"),
        ("*.example", "example", ""),
        ("*.example", "*.xexample", ""),
        ("a.example", "*.example", "a.example"),
        ("*.example", "*.a.example", "*.a.example"),
        ("*.a.example", "*.example", "*.a.example"),
        ("*.a.example", "*.b.example", ""),
    ],
)
def test_host_names_in_common(listener: str, name: str, both: str) -> None:
    assert shared(listener, name) == both


def test_status_tells_what_hangs_where_and_what_is_not_so() -> None:
    lost = route("lost", path_rule("PathPrefix", "/"))
    lost["spec"]["parentRefs"] = [{"name": "gw", "sectionName": "nope"}]
    there = Situation(route("r", path_rule("PathPrefix", "/")), lost)
    assert there.conditions("Gateway", "gw")["Programmed"]["reason"] == "AddressNotAssigned"
    given = {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}}}
    there.put({**service("gw-sampan"), **given})
    assert there.status("Gateway", "gw")["addresses"] == [{"type": "IPAddress", "value": "10.0.0.9"}]
    assert there.conditions("Gateway", "gw")["Programmed"]["status"] == "True"
    assert there.conditions("Gateway", "gw", live=False)["Programmed"]["reason"] == "Pending"
    assert there.status("Gateway", "gw")["listeners"][0]["attachedRoutes"] == 1
    assert there.conditions("HTTPRoute", "lost")["Accepted"]["reason"] == "NoMatchingParent"


def test_what_envoy_refuses_stands_with_the_gateway_it_belongs_to() -> None:
    there = Situation(gateway(name="other"), route("r", path_rule("PathPrefix", "/")))
    given = {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}}}
    there.put({**service("gw-sampan"), **given}, {**service("other-sampan"), **given})
    there.pipeline.ads.on_answer(LISTENER, "shop/gw/80", 1, "no such port")
    there.pipeline.update()
    assert ("Gateway", "shop/gw") in there.pipeline.due
    assert "no such port" in there.conditions("Gateway", "gw")["Programmed"]["message"]
    assert there.conditions("Gateway", "other")["Programmed"]["status"] == "True"
    there.pipeline.ads.on_answer(LISTENER, "shop/gw/80", 1, "")
    assert there.conditions("Gateway", "gw")["Programmed"]["status"] == "True"


def test_the_first_of_two_listeners_that_conflict_is_served() -> None:
    there = Situation(
        gateway(
            {**HTTP, "hostname": "a.example"},
            {**HTTP, "name": "twice", "hostname": "a.example"},
            {"name": "tcp", "port": 80, "protocol": "TCP"},
            {"name": "odd", "port": 81, "protocol": "X"},
            {"name": "udp", "port": 80, "protocol": "UDP"},
        )
    )
    assert there.listener("gw", "http")["Conflicted"]["status"] == "False"
    assert there.listener("gw", "twice")["Conflicted"]["reason"] == "HostnameConflict"
    assert there.listener("gw", "twice")["Programmed"]["reason"] == "HostnameConflict"
    assert there.listener("gw", "tcp")["Accepted"]["reason"] == "ProtocolConflict"
    assert there.listener("gw", "odd")["Accepted"]["reason"] == "UnsupportedProtocol"
    assert there.listener("gw", "udp")["Accepted"]["status"] == "True"
    assert there.conditions("Gateway", "gw")["Accepted"]["reason"] == "ListenersNotValid"


def listener_set(name: str, *listeners: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    return obj(
        "ListenerSet", name, {"parentRef": {"name": "gw", "namespace": "shop"}, "listeners": list(listeners)}, namespace
    )


def test_listener_sets_come_after_the_gateways_own_listeners_and_only_where_they_may() -> None:
    mine = {**HTTP, "name": "mine", "hostname": "set.example"}
    there = Situation(listener_set("set", mine, {**HTTP, "name": "again"}))
    assert there.conditions("ListenerSet", "set")["Accepted"]["reason"] == "NotAllowed"
    there.put(gateway(allowedListeners={"namespaces": {"from": "Same"}}))
    assert there.conditions("ListenerSet", "set")["Accepted"]["status"] == "True"
    assert there.status("Gateway", "gw")["attachedListenerSets"] == 1
    entries = {entry["name"]: entry for entry in there.status("ListenerSet", "set")["listeners"]}
    conflicted = next(c for c in entries["again"]["conditions"] if c["type"] == "Conflicted")
    assert conflicted["reason"] == "HostnameConflict"
    on_set = route("r", path_rule("PathPrefix", "/"))
    on_set["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": "set"}]
    on_gateway = route("g", path_rule("PathPrefix", "/"))
    there.put(on_set, on_gateway)
    assert [entry["name"] for entry in there.hosts()["set.example"]] == ["shop/r/0"]
    assert [entry["name"] for entry in there.hosts()["*"]] == ["shop/g/0"]


def test_routes_of_other_namespaces_by_selector() -> None:
    rules = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}}
    there = Situation(gateway({**HTTP, "allowedRoutes": rules}), route("r", path_rule("PathPrefix", "/")))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "NotAllowedByListeners"
    there.put({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}})
    assert there.conditions("HTTPRoute", "r")["Accepted"]["status"] == "True"
    assert there.hosts()["*"]


def test_only_the_oldest_stream_route_is_served_and_weights_of_datagrams_are_the_endpoints() -> None:
    udp = {"name": "udp", "port": 53, "protocol": "UDP"}
    port = {"port": 53, "name": "dns", "protocol": "UDP"}
    backends = [{"name": "one", "port": 53, "weight": 1}, {"name": "two", "port": 53, "weight": 3}]
    slices = [
        {
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        }
        for name, addresses in (("one", ["10.0.0.1"]), ("two", ["10.0.0.2", "10.0.0.3", "10.0.0.4"]))
    ]
    there = Situation(
        gateway(udp), service("one", port), service("two", port), *slices,
        route("r", {"backendRefs": backends}, kind="UDPRoute"),
    )  # fmt: skip
    assert "merged/shop/r" in there.names(CLUSTER)
    endpoints = there.get(ENDPOINTS, "merged/shop/r")["endpoints"][0]["lb_endpoints"]
    assert [entry["load_balancing_weight"]["value"] for entry in endpoints] == [3, 3, 3, 3]
    newer = route("a", {"backendRefs": [{"name": "one", "port": 53}]}, kind="UDPRoute")
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    there.put(newer)
    assert there.status("Gateway", "gw")["listeners"][0]["attachedRoutes"] == 2
    proxy = there.get(LISTENER, "shop/gw/53/udp")["listener_filters"][0]["typed_config"]
    assert b"merged/shop/r" in proxy["value"] if isinstance(proxy, dict) else b"merged/shop/r" in proxy


def test_generated_names_fit() -> None:
    assert generated_name(gateway(name="a")) == "a-sampan"
    long = generated_name(gateway(name="a" * 62))
    assert len(long) == 63 and long != generated_name(gateway(name="a" * 61 + "b"))


def test_ports_are_kept_and_not_given_again_at_once() -> None:
    ports = Ports()
    first = ports.of(Port("a/b", 80, "TCP"))
    assert ports.of(Port("a/b", 80, "TCP")) == first
    ports.release("a/b")
    assert ports.of(Port("c/d", 80, "TCP")) != first


def test_a_parameters_reference_that_leads_nowhere() -> None:
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "p"}
    there = Situation(gateway(infrastructure={"parametersRef": reference}))
    assert there.conditions("Gateway", "gw")["Accepted"]["reason"] == "InvalidParameters"
    assert there.names(LISTENER) == []
    there.put(obj("GatewayParameters", "p", {"accessLog": {"json": {"code": "%RESPONSE_CODE%"}}}))
    assert there.conditions("Gateway", "gw")["Accepted"]["status"] == "True"
    assert b"%RESPONSE_CODE%" in there.pipeline.ads.resources[LISTENER]["shop/gw/80"]


def test_backends_are_those_of_the_route() -> None:
    there = Situation(route("r", {"backendRefs": BACKEND}))
    policy = {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], "validation": {"hostname": "web"}}
    there.put(obj("BackendTLSPolicy", "p", policy))
    conditions = there.conditions("BackendTLSPolicy", "p")
    assert conditions["Accepted"]["reason"] == "NoValidCACertificate"
    assert there.hosts()["*"][0]["direct_response"]["status"] == 500
