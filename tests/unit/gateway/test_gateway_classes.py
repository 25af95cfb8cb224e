"""Several gateways in one cluster: each serves the objects of its own controllerName, and leaves others' alone."""

from __future__ import annotations

from typing import Any

from sampan.gateway.xds.types import LISTENER

from .situation import Situation, gateway, obj, path_rule, route

CLASS = {"kind": "GatewayClass", "metadata": {"name": "edge"}, "spec": {"controllerName": "sampan.dev/gateway/edge"}}


def edge_gateway() -> dict[str, Any]:
    made = gateway(name="edge")
    made["spec"]["gatewayClassName"] = "edge"
    return made


def on_both() -> dict[str, Any]:
    made = route("both", path_rule("PathPrefix", "/"))
    made["spec"]["parentRefs"] = [{"name": "gw"}, {"name": "edge"}]
    return made


def test_each_serves_the_gateways_of_its_class() -> None:
    objects = CLASS, edge_gateway(), on_both()
    assert Situation(*objects).names(LISTENER) == ["shop/gw/80"]
    assert Situation(*objects, gateway_class="edge").names(LISTENER) == ["shop/edge/80"]


def test_each_writes_its_own_part_of_a_status() -> None:
    written: dict[str, Any] = {}
    for name in ("sampan", "edge", "sampan"):
        there = Situation(CLASS, edge_gateway(), {**on_both(), "status": written}, gateway_class=name)
        written = there.status("HTTPRoute", "both") or written
    controllers = {entry["controllerName"]: entry["parentRef"]["name"] for entry in written["parents"]}
    assert controllers == {"sampan.dev/gateway": "gw", "sampan.dev/gateway/edge": "edge"}


def test_an_ingress_is_served_by_the_gateway_of_its_class() -> None:
    classes = [
        {"kind": "IngressClass", "metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"controller": controller}}
        for name, controller in (("sampan", "sampan.dev/ingress"), ("edge", "sampan.dev/ingress/edge"))
    ]
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    spec = {"ingressClassName": "edge", "rules": rules}
    ingress = {**obj("Ingress", "web", spec), "apiVersion": "networking.k8s.io/v1"}
    objects = CLASS, *classes, ingress
    assert Situation(*objects).names(LISTENER) == ["shop/gw/80"]
    assert Situation(*objects, gateway_class="edge").names(LISTENER) == ["kube-system/ingress_edge/80"]


def test_routes_of_services_are_not_led_through_two() -> None:
    made = route("of-service", path_rule("PathPrefix", "/x"))
    made["spec"]["parentRefs"] = [{"group": "", "kind": "Service", "name": "web", "port": 80}]
    behind = obj("Service", "web", {"ports": [{"port": 80, "name": "http"}], "clusterIP": "10.1.0.1"})
    objects = CLASS, behind, made
    assert "shop/web" in Situation(*objects).pipeline.waypoints
    assert not Situation(*objects, gateway_class="edge").pipeline.waypoints
