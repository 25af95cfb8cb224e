"""Services as parents of routes: what clients inside the cluster send to a Service's address goes through its routes.

There is no sidecar: Envoy on the node has a listener for each port of such a Service, and an EndpointSlice (``waypoint-for``)
leads the Service's address there. Ports that speak no HTTP are left alone. A route of another namespace than the Service's is
for clients of its own namespace. Source: GAMMA (GEP-1294, GEP-1324), KEP-3726.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.indexes import CLIENTS
from sampan.gateway.model.listeners import ACCEPTED, NO_CONFLICTS, RESOLVED, Listener, ListenerId, Parent
from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World
from sampan.gateway.xds.encode import encode
from sampan.schema.objects import Object

HTTP_PROTOCOLS = ("http", "kubernetes.io/h2c", "kubernetes.io/ws", "grpc", "http2")


def mesh_key(service: str) -> str:
    """Return what stands for a Service where routes name their Gateway."""
    return f"service {service}"


def http_ports(service: Object) -> list[Object]:
    """Return the ports of a Service that speak HTTP, by ``appProtocol`` or, without one, by name (``http-…``, ``grpc``)."""
    result = []
    for port in service["spec"].get("ports") or ():
        said = port.get("appProtocol") or (port.get("name") or "").partition("-")[0]
        if port.get("protocol", "TCP") == "TCP" and said.lower() in HTTP_PROTOCOLS:
            result.append(port)
    return result


def frontend(key: str, port: Object) -> Listener:
    """Return a Service's port as a listener that takes HTTPRoutes and GRPCRoutes for all hosts."""
    number = int(port["port"])
    return Listener(
        ListenerId(Parent("Service", key), str(number)),
        number,
        "HTTP",
        "Terminate",
        "*",
        ("HTTPRoute", "GRPCRoute"),
        "Same",
        "",
        (),
        "",
        False,
        ACCEPTED,
        RESOLVED,
        NO_CONFLICTS,
    )


def frontends(world: World, key: str, kind: str, port: int | None) -> tuple[list[Listener], Verdict]:
    """Return the ports of a Service that a route of a kind hangs on, and the verdict."""
    service = world.get("Service", key)
    if service is None:
        return [], Verdict("NoMatchingParent", f"Service {key} does not exist")
    if kind not in ("HTTPRoute", "GRPCRoute"):
        return [], Verdict("NotAllowedByListeners", f"{kind}s cannot be attached to a Service")
    if service["spec"].get("clusterIP") in (None, "", "None"):
        return [], Verdict("NoMatchingParent", f"Service {key} has no address that could be led through a proxy")
    found = [frontend(key, entry) for entry in http_ports(service) if port in (None, entry["port"])]
    if not found:
        return [], Verdict("NoMatchingParent", f"Service {key} has no such port that speaks HTTP")
    return found, ACCEPTED


def is_consumer(parent_gateway: str, namespace: str) -> bool:
    """Whether a route of a namespace is for clients of that namespace only: the Service is of another one."""
    return parent_gateway.startswith(mesh_key("")) and parent_gateway != mesh_key(
        f"{namespace}/{parent_gateway.partition('/')[2]}"
    )


def clients_match(world: World, namespace: str) -> dict[str, Any]:
    """Return the header match that only requests from pods of a namespace pass: Envoy adds who it was at the end."""
    addresses = sorted(entry["spec"]["address"] for entry in world.find(CLIENTS, namespace))
    names = "|".join(re.escape(address) for address in addresses) or "nobody"
    return {"name": "x-forwarded-for", "string_match": {"safe_regex": {"regex": f"(?:.*, *)?(?:{names})"}}}


def default_route(key: str, port: int) -> tuple[Ranked, ClusterRef]:
    """Return the route past all routes, to the Service itself: for clients that only others' routes are there for."""
    cluster = ClusterRef("Service", key, port)
    message = {"name": key, "match": {"prefix": "/"}, "route": {"cluster": cluster.name, "timeout": {"seconds": 0}}}
    return Ranked((2,), encode("envoy.config.route.v3.Route", message)), cluster
