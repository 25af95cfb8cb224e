"""The records that a Service has, by the Kubernetes DNS specification 1.1; pure.

``records_of`` returns ``{(name, type): [data, ...]}``: names as text below the zone (``web.shop.svc.cluster.local``), data as
``Address``, ``ServiceTarget`` and so on, small tuples that ``zone.py`` puts into wire form. An endpoint is called by its
hostname, else by its pod's name, else by its address with dashes; by the latter two it can always be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from sampan.dns import wire
from sampan.dns.entries import Endpoint, Ip, ServiceEntry, parsed

Key = tuple[str, int]
REVERSE = ("in-addr.arpa", "ip6.arpa")


class ServiceTarget(NamedTuple):
    """The data of a SRV record; the addresses of the target are sent along."""

    weight: int
    port: int
    target: str


Data = IPv4Address | IPv6Address | str | ServiceTarget
"""An address, a name (CNAME, PTR) or text (TXT), or a SRV target."""
Records = dict[Key, list[Data]]


@dataclass(frozen=True, slots=True)
class Options:
    """What names there are: CoreDNS's ``kubernetes`` directive, with our defaults."""

    domain: str = "cluster.local"
    ttl: int = 5
    pods: Literal["disabled", "insecure", "verified"] = "verified"
    endpoint_pod_names: bool = True
    zonal: bool = True
    namespaces: frozenset[str] = frozenset()
    """Those whose names there are; empty: all."""
    ignore_empty_service: bool = False
    no_endpoints: bool = False
    reverse: tuple[str, ...] = REVERSE
    """The reverse zones that are answered for."""
    fallthrough: tuple[str, ...] = REVERSE
    """Zones whose names are asked of others where they are not ours."""

    def exposes(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


def records_of(service: ServiceEntry, endpoints: Iterable[Endpoint], options: Options) -> Records:
    """Return the records of a Service with its endpoints; none for a headless one without ready endpoints."""
    name = f"{service.name}.{service.namespace}.svc.{options.domain}"
    records: Records = {}
    if not options.exposes(service.namespace):
        return records
    if service.kind == "ExternalName":
        if service.external_name:
            records[name.lower(), wire.CNAME] = [service.external_name]
    elif service.kind == "Headless":
        if not options.no_endpoints:
            _headless(records, name, ready(service, endpoints), options.endpoint_pod_names)
    elif not options.ignore_empty_service or any(endpoint.ready for endpoint in endpoints):
        _clustered(records, name, service)
    return records


def checked(records: Records) -> Records:
    """Return the records. Raises ``wire.WireError`` for one whose name cannot be sent."""
    for (name, kind), data in records.items():
        wire.name_to_wire(name)
        for item in data:
            if isinstance(item, str) and kind != wire.TXT:
                wire.name_to_wire(item)
    return records


def _clustered(records: Records, name: str, service: ServiceEntry) -> None:
    for address in service.addresses:
        _add(records, name, type_of(address), address)
        _add(records, address.reverse_pointer, wire.PTR, name)
    if not records:
        return
    for port_name, protocol, port in service.ports:
        if port_name:
            _add(records, f"_{port_name}._{protocol}.{name}", wire.SRV, ServiceTarget(100, port, name))


def _headless(records: Records, name: str, endpoints: list[Endpoint], pod_names: bool) -> None:
    called = labels(endpoints, pod_names)
    weight = max(100 // len(endpoints), 1) if endpoints else 0
    for endpoint in endpoints:
        kind = type_of(endpoint.address)
        hosts = [f"{label}.{name}" for label in called[endpoint]]
        _add(records, name, kind, endpoint.address)
        for host in hosts:
            _add(records, host, kind, endpoint.address)
        _add(records, endpoint.address.reverse_pointer, wire.PTR, hosts[0])
        for port_name, protocol, port in endpoint.ports:
            if port_name:
                _add(records, f"_{port_name}._{protocol}.{name}", wire.SRV, ServiceTarget(weight, port, hosts[0]))
    _distinct_targets(records)


def changed_records(
    service: ServiceEntry, endpoints: Iterable[Endpoint], changed: Iterable[Endpoint], options: Options
) -> tuple[Records, Records] | None:
    """Return of a headless Service with one that changed among many endpoints only what that changes: ``(records, targets)``,
    a name without data being gone, and the addresses that SRV records lead to. None where all may change.

    ``endpoints``: as they are now; ``changed``: those that came or went, as they were and are."""
    if service.kind != "Headless" or options.no_endpoints or not options.exposes(service.namespace):
        return None
    name = f"{service.name}.{service.namespace}.svc.{options.domain}"
    now, gone = ready(service, endpoints), list(changed)
    pods = {endpoint.pod.lower() for endpoint in (*now, *gone) if endpoint.pod}
    if any(one.hostname and one.hostname != one.pod and one.hostname.lower() in pods for one in gone):
        return None  # a pod's name is a hostname now, or no more
    called = labels(now, options.endpoint_pod_names)
    touched = {label.lower() for found in labels(gone, options.endpoint_pod_names).values() for label in found}
    addresses = {endpoint.address for endpoint in gone}
    records: Records = {(name.lower(), kind): [] for kind in (wire.A, wire.AAAA)}
    records |= {(f"{label}.{name}".lower(), kind): [] for label in touched for kind in (wire.A, wire.AAAA)}
    records |= {(address.reverse_pointer, wire.PTR): [] for address in addresses}
    for endpoint in gone:
        records |= {
            (f"_{port}._{protocol}.{name}".lower(), wire.SRV): [] for port, protocol, _ in endpoint.ports if port
        }
    beside: Records = {}
    weight = max(100 // len(now), 1) if now else 0
    for endpoint in now:
        _of_endpoint(records, beside, endpoint, called[endpoint], name, weight, touched, addresses)
    return _distinct_targets(records), beside


def _of_endpoint(
    records: Records,
    beside: Records,
    endpoint: Endpoint,
    called: list[str],
    name: str,
    weight: int,
    touched: set[str],
    addresses: set[Ip],
) -> None:
    kind, first = type_of(endpoint.address), f"{called[0]}.{name}"
    _add(records, name, kind, endpoint.address)
    _add(beside, first, kind, endpoint.address)
    for label in called:
        if label.lower() in touched:
            _add(records, f"{label}.{name}", kind, endpoint.address)
    if endpoint.address in addresses:
        _add(records, endpoint.address.reverse_pointer, wire.PTR, first)
    for port_name, protocol, port in endpoint.ports:
        if port_name:
            _add(records, f"_{port_name}._{protocol}.{name}", wire.SRV, ServiceTarget(weight, port, first))


def ready(service: ServiceEntry, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the endpoints that have names, sorted by address, each address once with the ports of all its slices."""
    found: dict[Ip, Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.ready or service.publish_not_ready:
            known = found.get(endpoint.address)
            if known is not None and known.ports != endpoint.ports:
                endpoint = endpoint._replace(ports=tuple(dict.fromkeys((*known.ports, *endpoint.ports))))
            found[endpoint.address] = endpoint
    return sorted(found.values(), key=lambda endpoint: (endpoint.address.version, int(endpoint.address)))


def labels(endpoints: Iterable[Endpoint], pod_names: bool) -> dict[Endpoint, list[str]]:
    """Return the labels of each endpoint below its Service's name, the one it is called by first. A pod's name that is
    another's hostname is that one's (``collisions`` tells)."""
    endpoints = list(endpoints)
    taken = {endpoint.hostname.lower(): endpoint.pod for endpoint in endpoints if endpoint.hostname}
    called = {}
    for endpoint in endpoints:
        found = [endpoint.hostname] if endpoint.hostname else []
        if pod_names and is_label(endpoint.pod) and taken.get(endpoint.pod.lower(), endpoint.pod) == endpoint.pod:
            found.append(endpoint.pod)
        found.append(dashed(endpoint.address))
        called[endpoint] = list(dict.fromkeys(found))
    return called


def collisions(endpoints: Iterable[Endpoint]) -> dict[str, str]:
    """Return pods that cannot be called by their name, and whose hostname it is."""
    endpoints = list(endpoints)
    taken = {endpoint.hostname.lower(): endpoint.pod for endpoint in endpoints if endpoint.hostname}
    return {
        endpoint.pod: other
        for endpoint in endpoints
        if endpoint.pod and (other := taken.get(endpoint.pod.lower(), endpoint.pod)) != endpoint.pod
    }


def is_label(name: str) -> bool:
    return 0 < len(name) <= 63 and "." not in name


def pod_address(label: str) -> Ip | None:
    """Return the address that the first label of a pod's name says (``10-1-2-3``, ``2001-db8--1``)."""
    for separator in (".", ":"):
        address = parsed(label.replace("-", separator))
        if address is not None and dashed(address) == label:
            return address
    return None


def dashed(address: Ip) -> str:
    """Return an address as a label. One that would end with a dash has a 0 there."""
    text = str(address).replace(".", "-").replace(":", "-")
    return f"{text}0" if text.endswith("-") else text


def reversed_address(name: str) -> Ip | None:
    """Return the address whose reverse name this is."""
    for zone, separator, parts in ((".in-addr.arpa", ".", 4), (".ip6.arpa", "", 32)):
        if name.endswith(zone):
            found = name[: -len(zone)].split(".")[::-1]
            if len(found) != parts or not all(0 < len(part) <= 4 - 3 * (parts == 32) for part in found):
                return None
            text = separator.join(found)
            if parts == 32:
                text = ":".join(text[start : start + 4] for start in range(0, 32, 4))
            return parsed(text)
    return None


def ancestors(name: str, domain: str) -> Iterator[str]:
    """Yield the names between a name and its namespace's: they exist, without records."""
    if not name.endswith(f".{domain}"):
        return
    for _ in range(name.count(".") - domain.count(".") - 3):
        name = name.partition(".")[2]
        yield name


def in_zone(endpoints: Iterable[Endpoint], zone: str) -> list[Endpoint]:
    return [endpoint for endpoint in endpoints if endpoint.zone.lower() == zone]


def _add(records: Records, name: str, kind: int, data: Data) -> None:
    listed = records.setdefault((name.lower(), kind), [])
    listed.append(data)


def _distinct_targets(records: Records) -> Records:
    """Leave out SRV targets that are there already."""
    for (_, kind), data in records.items():
        if kind == wire.SRV:
            data[:] = dict.fromkeys(data)
    return records


def type_of(address: Ip) -> int:
    return wire.A if address.version == 4 else wire.AAAA
