"""Services as parents of routes: their address leads through Envoy for as long as a route hangs on them."""

from __future__ import annotations

from typing import Any

from sampan.gateway.infrastructure import Ports, waypoint_of
from sampan.gateway.xds.types import LISTENER, ROUTES

from .situation import Situation, obj, path_rule, route

PORTS = [
    {"name": "http", "port": 80},
    {"name": "alt", "port": 8080, "appProtocol": "http"},
    {"name": "tcp", "port": 9090},
    {"name": "grpc", "port": 7070},
]
TABLE = "service shop/front/80"


def service(**more: Any) -> dict[str, Any]:
    return obj("Service", "front", {"ports": PORTS, "clusterIP": "10.1.0.1", **more})


def on_service(name: str = "r", **more: Any) -> dict[str, Any]:
    made = route(name, path_rule("PathPrefix", "/"), hostnames=["ignored.example"])
    made["spec"]["parentRefs"] = [{"group": "", "kind": "Service", "name": "front", **more}]
    return made


def test_a_route_stands_before_the_ports_that_speak_http() -> None:
    there = Situation(service(), on_service())
    listeners = [name for name in there.names(LISTENER) if name.startswith("service")]
    assert listeners == ["service shop/front/7070", "service shop/front/80", "service shop/front/8080"]
    assert [entry["name"] for entry in there.hosts(TABLE)["*"]] == ["shop/r/0"]
    assert there.conditions("HTTPRoute", "r")["Accepted"]["status"] == "True"
    there.put(on_service(port=80))
    assert [name for name in there.names(LISTENER) if name.startswith("service")] == [TABLE]
    there.delete(on_service())
    assert there.names(LISTENER) == ["shop/gw/80"] and TABLE not in there.names(ROUTES)
    assert there.pipeline.waypoints == {}


def test_what_cannot_be_attached_to_a_service_says_so() -> None:
    there = Situation(on_service())
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "NoMatchingParent"
    there.put(service(clusterIP="None"))
    assert "no address" in there.conditions("HTTPRoute", "r")["Accepted"]["message"]
    there.put(service(), on_service(port=9090))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "NoMatchingParent"
    assert there.pipeline.waypoints == {}


def test_the_ports_of_a_waypoint_are_read_back() -> None:
    there = Situation(service(), on_service())
    made = there.pipeline.waypoints["shop/front"]
    ports = Ports()
    ports.learn([waypoint_of(service(), made, "10.0.0.1")])
    assert ports.known == {port: number for port, (_, number) in made.items()}


def test_a_route_of_another_namespace_is_for_its_own_clients_only() -> None:
    consumer = on_service(namespace="shop")
    consumer["metadata"]["namespace"] = "other"
    consumer["spec"]["rules"][0]["backendRefs"] = [{"name": "front", "namespace": "shop", "port": 8080}]
    there = Situation(service(), consumer)
    assert there.pipeline.wants_pods
    pod = {"metadata": {"namespace": "other", "name": "p"}, "status": {"podIP": "10.0.0.7"}}
    there.pipeline.put_pod("other/p", pod)
    there.pipeline.update()
    first, last = there.hosts(TABLE)["*"]
    match = first["match"]["headers"][0]["string_match"]["safe_regex"]["regex"]
    assert first["route"]["cluster"] == "shop/front/8080", "the parent itself needs no grant"
    assert first["name"] == "other/r/0" and r"10\.0\.0\.7" in match
    assert last["route"]["cluster"] == "shop/front/80", "others pass"
    there.put(on_service(name="mine"))
    assert [entry["name"] for entry in there.hosts(TABLE)["*"]] == ["other/r/0", "shop/mine/0"]
    there.delete(on_service(name="mine"))
    there.delete(consumer)
    assert TABLE not in there.names(ROUTES) and not there.pipeline.wants_pods
