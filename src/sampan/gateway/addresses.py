"""The way to a Gateway: a Service of type LoadBalancer in its namespace, and the EndpointSlice that leads to Envoy.

Envoy listens on the node's address at a port of its own for each Gateway and port; the numbers are read back from the slices,
so they stay over restarts. The address is what the Service is given. Source: GEP-1762 (in-cluster deployments).
"""

from __future__ import annotations

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, SERVICES
from sampan.gateway.kinds import GATEWAYS
from sampan.schema.objects import Object

FIRST_PORT, LAST_PORT = 10300, 19999
LABEL = "gateway.networking.k8s.io/gateway-name"
MANAGED = "endpointslice.kubernetes.io/managed-by"
MANAGER = "gateway.sampan.dev"
FIELD_MANAGER = "sampan-gateway"

Ports = dict[tuple[str, int], int]


def ports_of(slices: list[Object]) -> Ports:
    """Return the ports that the slices of Gateways already name."""
    ports: Ports = {}
    for endpoint_slice in slices:
        metadata = endpoint_slice["metadata"]
        labels = metadata.get("labels") or {}
        if labels.get(MANAGED) == MANAGER and LABEL in labels:
            key = f"{metadata['namespace']}/{labels[LABEL]}"
            for port in endpoint_slice.get("ports") or ():
                ports[key, int(port["name"].removeprefix("port-"))] = port["port"]
    return ports


def assign(gateways: list[tuple[str, Object]], known: Ports) -> Ports:
    """Return a port for every port of every Gateway: the known one, or the first that is free."""
    ports: Ports = {}
    taken = set(known.values())
    free = iter(number for number in range(FIRST_PORT, LAST_PORT) if number not in taken)
    for key, gateway in gateways:
        for listener in gateway["spec"]["listeners"]:
            entry = key, int(listener["port"])
            if entry not in ports:
                ports[entry] = known[entry] if entry in known else next(free)
    return ports


def listener_ports(gateway: Object) -> list[int]:
    return sorted({int(listener["port"]) for listener in gateway["spec"]["listeners"]})


def owner(gateway: Object) -> Object:
    metadata = gateway["metadata"]
    return {
        "apiVersion": GATEWAYS.api_version,
        "kind": GATEWAYS.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def service_of(gateway: Object) -> Object:
    """Return the Service of a Gateway."""
    metadata, infrastructure = gateway["metadata"], gateway["spec"].get("infrastructure") or {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**(infrastructure.get("labels") or {}), LABEL: metadata["name"]},
            "annotations": infrastructure.get("annotations") or {},
            "ownerReferences": [owner(gateway)],
        },
        "spec": {
            "type": "LoadBalancer",
            "ports": [
                {"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"}
                for port in listener_ports(gateway)
            ],
        },
    }


def slice_of(gateway: Object, key: str, ports: Ports, node_ip: str) -> Object:
    """Return the EndpointSlice that leads to Envoy."""
    metadata = gateway["metadata"]
    labels = {"kubernetes.io/service-name": metadata["name"], LABEL: metadata["name"], MANAGED: MANAGER}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-gateway",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner(gateway)],
        },
        "addressType": "IPv4",
        "ports": [
            {"name": f"port-{port}", "port": ports[key, port], "protocol": "TCP"} for port in listener_ports(gateway)
        ],
        "endpoints": [{"addresses": [node_ip], "conditions": {"ready": True, "serving": True, "terminating": False}}],
    }


async def ensure(client: Client, gateway: Object, key: str, ports: Ports, node_ip: str) -> None:
    """Make the Service and the slice of a Gateway as they should be. Raises ``ApiError``; a Service of that name that is
    not the Gateway's own is left alone."""
    name, namespace = gateway["metadata"]["name"], gateway["metadata"]["namespace"]
    try:
        there = await client.get(SERVICES, name, namespace)
        if not any(r["uid"] == gateway["metadata"]["uid"] for r in there["metadata"].get("ownerReferences") or ()):
            reason = {"reason": "Conflict", "message": f"Service {key} exists and is not the Gateway's"}
            raise ApiError(409, reason)
    except ApiError as error:
        if not error.is_not_found:
            raise
    for resource, obj in ((SERVICES, service_of(gateway)), (ENDPOINT_SLICES, slice_of(gateway, key, ports, node_ip))):
        await client.patch(
            resource, obj["metadata"]["name"], obj, namespace, type="apply", field_manager=FIELD_MANAGER, force=True
        )


def address_of(service: Object | None) -> str:
    """Return the address a LoadBalancer Service was given, or ``""``."""
    ingress = ((service or {}).get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    return str(ingress[0].get("ip", "")) if ingress else ""
