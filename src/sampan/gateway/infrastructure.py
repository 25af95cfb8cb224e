"""The way to a Gateway: a Service of type LoadBalancer in its namespace, and the EndpointSlice that leads to Envoy.

Envoy listens on the node's address at a port of its own for each Gateway, port and transport; the numbers are read back
from the slices, so they stay over restarts. The address is what the Service is given. Source: GEP-1762 (names and labels of
what is generated).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, SERVICES
from sampan.gateway.ingress.shared import SEPARATOR
from sampan.gateway.kinds.resources import GATEWAYS
from sampan.gateway.replicas import Replica
from sampan.schema.objects import Object

FIRST_PORT, LAST_PORT = 10300, 19999
LONGEST_NAME = 63
NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
WAYPOINT_FOR = "gateway.sampan.dev/waypoint-for"
PORTS = "gateway.sampan.dev/ports"
"""Annotation of a waypoint: the Service's ports, in the order of the slice's."""
MANAGED = "endpointslice.kubernetes.io/managed-by"
MANAGER = "gateway.sampan.dev"
FIELD_MANAGER = "sampan-gateway"


class Port(NamedTuple):
    """A port of a Gateway."""

    gateway: str
    number: int
    transport: str

    @property
    def name(self) -> str:
        return f"{'udp' if self.transport == 'UDP' else 'port'}-{self.number}"


class Ports:
    """Which port Envoy has for each port of a Gateway: the one it had, or the first that is free."""

    def __init__(self) -> None:
        self.known: dict[Port, int] = {}
        self._taken: set[int] = set()
        self._last = FIRST_PORT - 1

    def learn(self, slices: list[Object]) -> None:
        """Take over what the slices of Gateways and Services already say."""
        for endpoint_slice in slices:
            metadata = endpoint_slice["metadata"]
            labels = metadata.get("labels") or {}
            if WAYPOINT_FOR in labels:
                service = f"service {metadata['namespace']}/{labels[WAYPOINT_FOR]}"
                numbers = ((metadata.get("annotations") or {}).get(PORTS) or "").split(",")
                for front, entry in zip(numbers, endpoint_slice.get("ports") or (), strict=False):
                    self.known[Port(service, int(front), "TCP")] = entry["port"]
                    self._taken.add(entry["port"])
                    self._last = max(self._last, entry["port"])
            if labels.get(MANAGED) == MANAGER and NAME_LABEL in labels:
                key = f"{metadata['namespace']}/{labels[NAME_LABEL]}"
                for entry in endpoint_slice.get("ports") or ():
                    number = int(entry["name"].rpartition("-")[2])
                    self.known[Port(key, number, entry.get("protocol", "TCP"))] = entry["port"]
                    self._taken.add(entry["port"])
                    self._last = max(self._last, entry["port"])

    def of(self, port: Port) -> int:
        number = self.known.get(port)
        if number is None:
            # the next one after the last: one that was given back may still be Envoy's for a moment
            after = [*range(self._last + 1, LAST_PORT), *range(FIRST_PORT, self._last + 1)]
            number = self._last = next(n for n in after if n not in self._taken)
            self.known[port] = number
            self._taken.add(number)
        return number

    def release(self, gateway: str, number: int = 0) -> None:
        """Give back the ports of a Gateway, or one of them."""
        for port in [port for port in self.known if port.gateway == gateway and number in (0, port.number)]:
            self._taken.discard(self.known.pop(port))


class HostPorts(Ports):
    """Ports are what they are called: Envoy listens on the host's own."""

    def of(self, port: Port) -> int:
        return port.number


def reachable(address: str) -> str:
    """Return an address of this machine that leads to what listens on ``address``, which may mean all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def generated_name(gateway: Object) -> str:
    """Return the name of what is generated for a Gateway: ``NAME-CLASS``, cut with a hash where it would be too long."""
    name = f"{gateway['metadata']['name']}-{gateway['spec']['gatewayClassName']}"
    if SEPARATOR in name:  # shared by Ingresses: their class is part of it already
        name = gateway["metadata"]["name"].replace(SEPARATOR, "-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def owner(gateway: Object) -> Object:
    """Return who owns what is generated: the Gateway, or the IngressClass whose Ingresses share it."""
    metadata = gateway["metadata"]
    if SEPARATOR in metadata["name"]:
        shared: Object = metadata["ownerReferences"][0]
        return shared
    return {
        "apiVersion": GATEWAYS.api_version,
        "kind": GATEWAYS.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def metadata_of(gateway: Object, name: str, labels: dict[str, str]) -> Object:
    """Return the metadata of something generated: the Gateway's labels and annotations for its infrastructure on it."""
    infrastructure = gateway["spec"].get("infrastructure") or {}
    own = {NAME_LABEL: gateway["metadata"]["name"], CLASS_LABEL: gateway["spec"]["gatewayClassName"]}
    return {
        "name": name,
        "namespace": gateway["metadata"]["namespace"],
        "labels": {**(infrastructure.get("labels") or {}), **own, **labels},
        "annotations": dict(infrastructure.get("annotations") or {}),
        "ownerReferences": [owner(gateway)],
    }


def service_of(gateway: Object, ports: dict[Port, int], addresses: tuple[str, ...]) -> Object:
    """Return the Service of a Gateway. It asks for the first of the Gateway's addresses: a Service has one."""
    spec: Object = {
        "type": "LoadBalancer",
        "ports": [
            {"name": port.name, "port": port.number, "targetPort": number, "protocol": port.transport}
            for port, number in sorted(ports.items())
        ],
    }
    if addresses:
        spec["loadBalancerIP"] = addresses[0]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(gateway, generated_name(gateway), {}),
        "spec": spec,
    }


def slice_of(gateway: Object, ports: dict[Port, int], node_ip: str, replica: Replica | None = None) -> Object:
    """Return the EndpointSlice that leads to Envoy, a replica's own."""
    name = generated_name(gateway)
    labels = {"kubernetes.io/service-name": name, MANAGED: MANAGER, **(replica.labels if replica else {})}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata_of(gateway, slice_name(name, replica), labels),
        "addressType": "IPv6" if ":" in node_ip else "IPv4",
        "ports": [
            {"name": port.name, "port": number, "protocol": port.transport} for port, number in sorted(ports.items())
        ],
        "endpoints": [{"addresses": [node_ip], "conditions": {"ready": True, "serving": True, "terminating": False}}],
    }


def slice_name(name: str, replica: Replica | None) -> str:
    return f"{name}-envoy" if replica is None else f"{name[:180]}-{replica.name}"


async def ensure(
    client: Client,
    gateway: Object,
    ports: dict[Port, int],
    addresses: tuple[str, ...],
    node_ip: str,
    replica: Replica | None = None,
    leads: bool = True,
) -> None:
    """Make the Service and the slice of a Gateway as they should be. Raises ``ApiError``; a Service of that name that is
    not the Gateway's own is left alone. Without ``node_ip`` there is no slice: Envoy is at the address itself. Of
    several replicas each has a slice, the Service is made by the one who leads."""
    name, namespace = generated_name(gateway), gateway["metadata"]["namespace"]
    try:
        there = await client.get(SERVICES, name, namespace)
        if not any(r["uid"] == gateway["metadata"]["uid"] for r in there["metadata"].get("ownerReferences") or ()):
            reason = {"reason": "Conflict", "message": f"Service {namespace}/{name} exists and is not the Gateway's"}
            raise ApiError(409, reason)
    except ApiError as error:
        if not error.is_not_found:
            raise
    wanted = [(SERVICES, service_of(gateway, ports, addresses))] if leads else []
    if node_ip:
        wanted.append((ENDPOINT_SLICES, slice_of(gateway, ports, node_ip, replica)))
    for resource, obj in wanted:
        await client.patch(
            resource, obj["metadata"]["name"], obj, namespace, type="apply", field_manager=FIELD_MANAGER, force=True
        )


async def give(client: Client, gateway: Object, addresses: tuple[str, ...]) -> None:
    """Say that the Service of a Gateway has these addresses: where no one else gives any."""
    status = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
    name, namespace = generated_name(gateway), gateway["metadata"]["namespace"]
    await client.patch(SERVICES, name, {"status": status}, namespace, type="merge", subresource="status")


async def remove(client: Client, namespace: str, name: str, replica: Replica | None = None) -> None:
    """Delete what ``ensure`` made. Raises ``ApiError``."""
    ours = [(ENDPOINT_SLICES, slice_name(name, replica))]
    for resource, generated in ours if replica is not None else [(SERVICES, name), *ours]:
        try:
            await client.delete(resource, generated, namespace)
        except ApiError as error:
            if not error.is_not_found:
                raise


def waypoint_of(service: Object, ports: dict[Port, tuple[str, int]], node_ip: str) -> Object:
    """Return the EndpointSlice that leads a Service's address through Envoy, for these ports."""
    metadata = service["metadata"]
    entries = [
        {"name": name, "port": number, "protocol": "TCP", "appProtocol": "http"}
        for _, (name, number) in sorted(ports.items())
    ]
    reference = {"apiVersion": "v1", "kind": "Service", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": waypoint_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {WAYPOINT_FOR: metadata["name"], MANAGED: MANAGER},
            "annotations": {PORTS: ",".join(str(port.number) for port in sorted(ports))},
            "ownerReferences": [reference],
        },
        "addressType": "IPv4",
        "ports": entries,
        "endpoints": [{"addresses": [node_ip], "conditions": {"ready": True, "serving": True, "terminating": False}}],
    }


def waypoints_of(slices: list[Object]) -> dict[str, Object]:
    """Return the waypoints there are, by the key of their Service."""
    found = {}
    for piece in slices:
        name = (piece["metadata"].get("labels") or {}).get(WAYPOINT_FOR)
        if name:
            found[f"{piece['metadata']['namespace']}/{name}"] = piece
    return found


def waypoint_name(service: str) -> str:
    return f"{service}-waypoint"


def addresses_given(service: Object | None) -> list[str]:
    """Return the addresses a LoadBalancer Service was given."""
    ingress = ((service or {}).get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(entry["ip"]) for entry in ingress if entry.get("ip")]
