"""Who is told of requests: the collectors that GatewayParameters name, and what is wrong with such a reference."""

from __future__ import annotations

from typing import Any

from sampan.gateway.model.backends import ClusterRef, service_port
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World

OTLP_PORT = 4317
OBSERVERS = ("tracing", "accessLog.otlp")


def observer(parameters: dict[str, Any], name: str, gateway: str) -> ClusterRef | None:
    """Return the cluster that one of ``OBSERVERS`` names, None where it is not asked for."""
    settings: Any = parameters
    for part in name.split("."):
        settings = (settings or {}).get(part)
    if not settings:
        return None
    reference = settings["backendRef"]
    namespace = reference.get("namespace") or gateway.partition("/")[0]
    return ClusterRef("Service", f"{namespace}/{reference['name']}", int(reference.get("port") or OTLP_PORT), "h2")


def observer_problem(world: World, parameters: dict[str, Any], gateway: str) -> Verdict | None:
    """Return why logs or spans reach nobody."""
    for name in OBSERVERS:
        ref = observer(parameters, name, gateway)
        if ref is None:
            continue
        service = world.get("Service", ref.key)
        at = f"GatewayParameters: spec.{name}.backendRef"
        if service is None:
            return Verdict("BackendNotFound", f"{at}: Service {ref.key} does not exist")
        if service_port(service, ref.port) is None:
            return Verdict("BackendNotFound", f"{at}: Service {ref.key} has no port {ref.port}")
    return None
