"""Names that are computed when they are asked for: those of pods, of the endpoints of Services with a ClusterIP, of zones.

There may be very many of them and few are ever asked for. All are extensions of the specification (section 3) but the
``pod`` names; what the specification demands is compiled in ``zone.py`` and looked up first.
Source: CoreDNS's ``kubernetes`` directive (``pods``, ``endpoint_pod_names``, ``zonal``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from sampan.dns import wire
from sampan.dns.entries import Endpoint, Ip, PodEntry, ServiceEntry
from sampan.dns.records import (
    Data,
    Options,
    Records,
    in_zone,
    labels,
    pod_address,
    ready,
    records_of,
    reversed_address,
    type_of,
)
from sampan.dns.zone import Found, Zone, targets, to_wire


class World(Protocol):
    """What is known of the cluster, in ``following.py``."""

    def service(self, key: str) -> ServiceEntry | None: ...

    def endpoints(self, key: str) -> Iterable[Endpoint]: ...

    def services_at(self, address: Ip) -> Iterable[str]:
        """Return the keys of the Services that have an endpoint there."""

    def pod(self, namespace: str, name: str) -> PodEntry | None: ...

    def pod_at(self, address: Ip) -> PodEntry | None: ...


def look(zone: Zone, world: World, name: bytes, kind: int) -> Found | None:
    """Return the answer to a question that is not among the compiled ones, None where there is no such name."""
    records = named(zone, world, wire.wire_to_name(name))
    if records is None:
        return None
    text = wire.wire_to_name(name)
    kind = next((kind for owner, kind in records if owner == text), kind) if kind == wire.ANY else kind
    data = records.get((text, kind), [])
    if not data:
        return zone.denial(exists=True)
    ttl = zone.options.ttl
    made = [wire.record(name, kind, ttl, to_wire(kind, item)) for item in data]
    beside = targets(data, records, ttl) if kind == wire.SRV else []
    return Found(wire.NO_ERROR, made, [], beside)


def named(zone: Zone, world: World, name: str) -> Records | None:
    """Return the records of a name, by which it exists; None where it does not."""
    options = zone.options
    address = reversed_address(name)
    if address is not None:
        pointers = list(_pointers(zone, world, address))
        return {(name, wire.PTR): list(pointers)} if pointers else None
    rest = name.removesuffix(f".{options.domain}")
    if rest == name:
        return None
    *first, namespace, tree = rest.split(".") if rest.count(".") >= 2 else ("", "", "")
    if tree == "pod":
        return _pod(zone, world, name, namespace, ".".join(first))
    if tree != "svc" or len(first) < 2 or options.no_endpoints:
        return None
    return _endpoint(world, options, name, namespace, first)


def _pod(zone: Zone, world: World, name: str, namespace: str, label: str) -> Records | None:
    """``<address with dashes>.<namespace>.pod`` and ``<pod>.<namespace>.pod``."""
    if zone.options.pods == "disabled" or namespace not in zone.namespaces:
        return None
    address = pod_address(label)
    if address is not None:
        if zone.options.pods == "verified":
            pod = world.pod_at(address)
            if pod is None or pod.namespace != namespace:
                address = None
        if address is not None:
            return {(name, type_of(address)): [address]}
    pod = world.pod(namespace, label) if zone.options.pods == "verified" else None
    if pod is None:
        return None
    found: Records = {}
    for one in pod.addresses:
        found.setdefault((name, type_of(one)), []).append(one)
    return found


def _endpoint(world: World, options: Options, name: str, namespace: str, first: list[str]) -> Records | None:
    """``<endpoint>.<service>`` of a Service with a ClusterIP, ``<zone>.pin._zone.<service>`` of a headless one."""
    service_name = first[-1]
    key = f"{namespace}/{service_name}"
    service = world.service(key)
    if service is None or service.kind == "ExternalName" or not options.exposes(namespace):
        return None
    if service.kind == "ClusterIP":
        return _labelled(service, world.endpoints(key), options, name, first[0]) if len(first) == 2 else None
    if not options.zonal or "_zone" not in first:
        return None
    at = first.index("_zone")
    if at < 2 or first[at - 1] not in ("pin", "prefer") or at != len(first) - 2:
        return None
    before, zone_name = first[: at - 1], ""
    port = tuple(before[:2]) if len(before) > 2 and all(part.startswith("_") for part in before[:2]) else ()
    zone_name = ".".join(before[len(port) :])
    endpoints = list(world.endpoints(key))
    wanted = in_zone(endpoints, zone_name)
    if first[at - 1] == "prefer" and not ready(service, wanted):
        wanted = endpoints
    return _zonal(service, wanted, options, name, port)


def _zonal(
    service: ServiceEntry, endpoints: list[Endpoint], options: Options, name: str, port: tuple[str, ...]
) -> Records:
    own = f"{service.name}.{service.namespace}.svc.{options.domain}"
    whole = records_of(service, endpoints, options)
    wanted = ".".join((*port, own))
    found: Records = {(name, kind): data for (owner, kind), data in whole.items() if owner == wanted}
    # what a SRV record leads to is sent along
    return {**whole, **found, (name, wire.TXT): []}


def _labelled(
    service: ServiceEntry, endpoints: Iterable[Endpoint], options: Options, name: str, label: str
) -> Records | None:
    found: Records = {}
    for endpoint, called in labels(ready(service, endpoints), options.endpoint_pod_names).items():
        if label in (one.lower() for one in called):
            found.setdefault((name, type_of(endpoint.address)), []).append(endpoint.address)
    return found or None


def _pointers(zone: Zone, world: World, address: Ip) -> Iterator[Data]:
    """Yield the names of an endpoint of Services with a ClusterIP, else of the pod that has the address alone."""
    options, some = zone.options, False
    for key in sorted(world.services_at(address)):
        service = world.service(key)
        if service is None or service.kind != "ClusterIP" or not options.exposes(service.namespace):
            continue
        for endpoint, called in labels(ready(service, world.endpoints(key)), options.endpoint_pod_names).items():
            if endpoint.address == address:
                some = True
                yield f"{called[0]}.{service.name}.{service.namespace}.svc.{options.domain}"
    pod = world.pod_at(address) if options.pods == "verified" and not some else None
    if pod is not None and not pod.host_network and options.exposes(pod.namespace):
        yield f"{pod.name}.{pod.namespace}.pod.{options.domain}"
