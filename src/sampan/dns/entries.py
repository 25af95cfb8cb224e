"""What of Services, EndpointSlices and Pods names are made of: small tuples instead of whole objects, which may be many.

Source: core/v1, discovery.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, NamedTuple

from sampan.schema.objects import Object

Ip = IPv4Address | IPv6Address
Port = tuple[str, str, int]
"""(name, protocol in lower case, number)"""
SERVICE_NAME = "kubernetes.io/service-name"


class ServiceEntry(NamedTuple):
    namespace: str
    name: str
    kind: Literal["ClusterIP", "Headless", "ExternalName"]
    addresses: tuple[Ip, ...] = ()
    ports: tuple[Port, ...] = ()
    external_name: str = ""
    publish_not_ready: bool = False


class Endpoint(NamedTuple):
    address: Ip
    ready: bool
    hostname: str
    pod: str
    """The Pod's name that is behind it, "" where none is."""
    zone: str
    ports: tuple[Port, ...]


class SliceEntry(NamedTuple):
    service: str
    """The key of the Service it belongs to, "" for none."""
    endpoints: tuple[Endpoint, ...]


class PodEntry(NamedTuple):
    namespace: str
    name: str
    addresses: tuple[Ip, ...]
    host_network: bool
    searches: tuple[str, ...] | None
    """What its dnsConfig adds to the usual search list; None where it does not look there first."""


def service_entry(service: Object) -> ServiceEntry:
    metadata, spec = service["metadata"], service.get("spec") or {}
    namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
    if spec.get("type") == "ExternalName":
        target = str(spec.get("externalName") or "").rstrip(".")
        return ServiceEntry(namespace, name, "ExternalName", external_name=target)
    publish = bool(spec.get("publishNotReadyAddresses"))
    if spec.get("clusterIP") == "None":
        return ServiceEntry(namespace, name, "Headless", publish_not_ready=publish)
    texts = spec.get("clusterIPs") or [spec.get("clusterIP")]
    addresses = tuple(address for text in texts if (address := parsed(text)) is not None)
    return ServiceEntry(namespace, name, "ClusterIP", addresses, ports_of(spec.get("ports")), "", publish)


def slice_entry(piece: Object) -> SliceEntry:
    """Return a slice's endpoints. A slice of names (addressType FQDN) has none that have an address."""
    metadata = piece["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME)
    ports = ports_of(piece.get("ports"))
    found = []
    for entry in piece.get("endpoints") or ():
        target = entry.get("targetRef") or {}
        pod = str(target.get("name") or "") if target.get("kind") == "Pod" else ""
        ready = (entry.get("conditions") or {}).get("ready") is not False
        about = ready, str(entry.get("hostname") or ""), pod, str(entry.get("zone") or ""), ports
        addresses = map(parsed, entry.get("addresses") or ())
        found += [Endpoint(address, *about) for address in addresses if address is not None]
    return SliceEntry(f"{metadata.get('namespace')}/{name}" if name else "", tuple(found))


def pod_entry(pod: Object) -> PodEntry | None:
    """Return a pod's entry, None where it has no address (any more): a pod that ended has given it back."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    texts = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
    addresses = tuple(address for text in texts if (address := parsed(text)) is not None)
    if not addresses:
        return None
    host_network = bool(spec.get("hostNetwork"))
    searches: tuple[str, ...] | None = None
    if spec.get("dnsPolicy", "ClusterFirst") == "ClusterFirst" and not host_network:
        searches = tuple(map(str, (spec.get("dnsConfig") or {}).get("searches") or ()))
    return PodEntry(str(metadata.get("namespace")), str(metadata["name"]), addresses, host_network, searches)


def ports_of(ports: Iterable[Object] | None) -> tuple[Port, ...]:
    return tuple(
        (str(port.get("name") or ""), str(port.get("protocol") or "TCP").lower(), int(port["port"]))
        for port in ports or ()
        if port.get("port")
    )


def parsed(text: object) -> Ip | None:
    try:
        return ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
