"""Under what objects are found by others that refer to them."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

GRANTS = "grants of a namespace"
LISTENER_SETS = "listener sets of a gateway"
SLICES = "slices of a service"
TLS_POLICIES = "TLS policies of a target"
TRAFFIC_POLICIES = "traffic policies of a target"
GATEWAYS = "gateways of a class"
CLIENTS = "addresses of a namespace"
INGRESS_CLASSES = "classes of Ingresses"
INGRESSES = "Ingresses of a host"


def add_indexes(world: World) -> None:
    world.add_index(GRANTS, "ReferenceGrant", lambda obj: [obj["metadata"]["namespace"]])
    world.add_index(LISTENER_SETS, "ListenerSet", parent_gateway)
    world.add_index(SLICES, "EndpointSlice", service_of_slice)
    world.add_index(TLS_POLICIES, "BackendTLSPolicy", targets)
    world.add_index(TRAFFIC_POLICIES, "XBackendTrafficPolicy", targets)
    world.add_index(CLIENTS, "PodAddress", lambda obj: [obj["metadata"]["namespace"]])
    world.add_index(INGRESS_CLASSES, "IngressClass", lambda obj: [""])
    world.add_index(INGRESSES, "Ingress", hosts_of_ingress)
    world.add_index(GATEWAYS, "Gateway", lambda obj: [obj["spec"]["gatewayClassName"]])


def parent_gateway(listener_set: Object) -> list[str]:
    reference = listener_set["spec"].get("parentRef") or {}
    if reference.get("group", GROUP) != GROUP or reference.get("kind", "Gateway") != "Gateway":
        return []
    return [f"{reference.get('namespace') or listener_set['metadata']['namespace']}/{reference.get('name')}"]


def service_of_slice(endpoint_slice: Object) -> list[str]:
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
    return [f"{metadata['namespace']}/{name}"] if name else []


def hosts_of_ingress(ingress: Object) -> list[str]:
    """Return ``namespace host`` of each host of an Ingress, ``""`` for rules without one."""
    namespace = ingress["metadata"]["namespace"]
    hosts = {str(rule.get("host") or "") for rule in (ingress.get("spec") or {}).get("rules") or ()}
    return [f"{namespace} {host}" for host in sorted(hosts)]


def targets(policy: Object) -> Iterable[str]:
    """Return ``kind ns/name`` of what a policy is attached to."""
    namespace = policy["metadata"]["namespace"]
    for target in policy["spec"].get("targetRefs") or ():
        yield f"{target['kind']} {namespace}/{target['name']}"
