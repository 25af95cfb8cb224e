"""The records that a Service has, by the Kubernetes DNS specification 1.1; pure.

``records_of`` returns ``{(name, type): [data, ...]}``: names as text below the zone (``web.shop.svc.cluster.local``), data as
``Address``, ``Target`` and so on, small tuples that ``zone.py`` puts into wire form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from sampan.dns import wire
from sampan.schema.objects import Object

Key = tuple[str, int]


class ServiceTarget(NamedTuple):
    """The data of a SRV record; the addresses of the target are sent along."""

    weight: int
    port: int
    target: str


Data = IPv4Address | IPv6Address | str | ServiceTarget
"""An address, a name (CNAME, PTR) or text (TXT), or a SRV target."""
Records = dict[Key, list[Data]]


class Endpoint(NamedTuple):
    address: IPv4Address | IPv6Address
    hostname: str
    ports: tuple[tuple[str, str, int], ...]
    """(name, protocol, port)"""


def records_of(service: Object, slices: Iterable[Object], domain: str) -> Records:
    """Return the records of a Service with its EndpointSlices; none for a headless one without ready endpoints."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    name = f"{metadata['name']}.{metadata.get('namespace')}.svc.{domain}"
    records: Records = {}
    if spec.get("type") == "ExternalName":
        if spec.get("externalName"):
            records[name, wire.CNAME] = [str(spec["externalName"]).rstrip(".")]
    elif spec.get("clusterIP") == "None":
        _headless(records, name, ready_endpoints(slices, bool(spec.get("publishNotReadyAddresses"))))
    else:
        _clustered(records, name, spec)
    return records


def checked(records: Records) -> Records:
    """Return the records. Raises ``wire.WireError`` for one whose name cannot be sent."""
    for (name, kind), data in records.items():
        wire.name_to_wire(name)
        for item in data:
            if isinstance(item, str) and kind != wire.TXT:
                wire.name_to_wire(item)
    return records


def _clustered(records: Records, name: str, spec: Mapping[str, Any]) -> None:
    for text in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        address = _address(text)
        if address is not None:
            _add(records, name, _type_of(address), address)
            _add(records, address.reverse_pointer, wire.PTR, name)
    if not records:
        return
    for port in spec.get("ports") or ():
        if port.get("name"):
            owner = f"_{port['name']}._{str(port.get('protocol') or 'TCP').lower()}.{name}"
            _add(records, owner, wire.SRV, ServiceTarget(100, int(port["port"]), name))


def _headless(records: Records, name: str, endpoints: list[Endpoint]) -> None:
    for endpoint in endpoints:
        host = f"{endpoint.hostname or dashed(endpoint.address)}.{name}"
        kind = _type_of(endpoint.address)
        _add(records, name, kind, endpoint.address)
        _add(records, host, kind, endpoint.address)
        _add(records, endpoint.address.reverse_pointer, wire.PTR, host)
        for port_name, protocol, port in endpoint.ports:
            if port_name:
                owner = f"_{port_name}._{protocol.lower()}.{name}"
                _add(records, owner, wire.SRV, ServiceTarget(max(100 // len(endpoints), 1), port, host))


def ready_endpoints(slices: Iterable[Object], publish_not_ready: bool) -> list[Endpoint]:
    """Return what a headless Service names, sorted by address, each address once."""
    found: dict[str, Endpoint] = {}
    for piece in slices:
        ports = tuple(
            (str(port.get("name") or ""), str(port.get("protocol") or "TCP"), int(port["port"]))
            for port in piece.get("ports") or ()
            if port.get("port")
        )
        for entry in piece.get("endpoints") or ():
            if (entry.get("conditions") or {}).get("ready") is False and not publish_not_ready:
                continue
            for text in entry.get("addresses") or ():
                address = _address(text)
                if address is not None:
                    known = found.get(str(address))
                    merged = tuple(dict.fromkeys((*known.ports, *ports))) if known else ports
                    found[str(address)] = Endpoint(address, str(entry.get("hostname") or ""), merged)
    return sorted(found.values(), key=lambda endpoint: (endpoint.address.version, int(endpoint.address)))


def pod_address(label: str) -> IPv4Address | IPv6Address | None:
    """Return the address that the first label of a pod's name says (``10-1-2-3``, ``2001-db8--1``)."""
    for separator in (".", ":"):
        address = _address(label.replace("-", separator))
        if address is not None and dashed(address) == label:
            return address
    return None


def dashed(address: IPv4Address | IPv6Address) -> str:
    return str(address).replace(".", "-").replace(":", "-")


def ancestors(name: str, domain: str) -> Iterator[str]:
    """Yield the names between a name and the zone: they exist, without records."""
    while name != domain and name.endswith(f".{domain}"):
        name = name.partition(".")[2]
        yield name


def _add(records: Records, name: str, kind: int, data: Data) -> None:
    listed = records.setdefault((name.lower(), kind), [])
    if data not in listed:
        listed.append(data)


def _type_of(address: IPv4Address | IPv6Address) -> int:
    return wire.A if address.version == 4 else wire.AAAA


def _address(text: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
