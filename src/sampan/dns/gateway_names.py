"""Names by which the outside calls Services of type LoadBalancer, Gateways, routes and Ingresses: ``k8s_gateway``.

A Service is ``<name>.<namespace>.<zone>`` and what its annotation says; a Gateway, a route and an Ingress are the host names
they have, at the addresses that their status tells. ``*.`` stands for one label or more. Source: the plugin k8s_gateway,
external-dns (annotations), GEP-1911 (a route has its Gateways' addresses).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sampan.client.protocol import ResourceType
from sampan.client.resources import SERVICES
from sampan.dns import wire
from sampan.dns.entries import Ip, parsed
from sampan.dns.records import type_of
from sampan.dns.zone import Found
from sampan.schema.objects import Object

GROUP = "gateway.networking.k8s.io"
INGRESSES = ResourceType("networking.k8s.io", "v1", "ingresses", "Ingress")
GATEWAYS = ResourceType(GROUP, "v1", "gateways", "Gateway")
ROUTES = {
    "HTTPRoute": ResourceType(GROUP, "v1", "httproutes", "HTTPRoute"),
    "GRPCRoute": ResourceType(GROUP, "v1", "grpcroutes", "GRPCRoute"),
}
RESOURCES: Mapping[str, ResourceType] = {"Service": SERVICES, "Ingress": INGRESSES, "Gateway": GATEWAYS, **ROUTES}
ANNOTATIONS = ("coredns.io/hostname", "external-dns.alpha.kubernetes.io/hostname")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    zones: tuple[bytes, ...]
    resources: frozenset[str] = frozenset(RESOURCES)
    ttl: int = 60
    fallthrough: tuple[bytes, ...] = ()


class Named(NamedTuple):
    """What an object says: host names as they stand there, addresses, and the Gateways whose addresses it has too."""

    kind: str
    hosts: tuple[str, ...]
    addresses: tuple[Ip, ...]
    parents: tuple[str, ...] = ()
    """Keys of Gateways."""
    service: str = ""
    """``<name>.<namespace>`` of a Service."""


def named(kind: str, obj: Object) -> Named | None:
    """Return what an object says of names, None where it says nothing."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    namespace = str(metadata.get("namespace") or "")
    annotations = metadata.get("annotations") or {}
    extra = [host for key in ANNOTATIONS for host in str(annotations.get(key) or "").split(",") if host.strip()]
    if kind == "Service":
        if spec.get("type") != "LoadBalancer":
            return None
        own = f"{metadata['name']}.{namespace}"
        addresses = _addresses((status.get("loadBalancer") or {}).get("ingress"), "ip")
        addresses += tuple(a for text in spec.get("externalIPs") or () if (a := parsed(text)) is not None)
        return Named(kind, _clean(extra), addresses, service=own)
    if kind == "Ingress":
        hosts = [rule.get("host") or "" for rule in spec.get("rules") or ()]
        return Named(
            kind, _clean((*hosts, *extra)), _addresses((status.get("loadBalancer") or {}).get("ingress"), "ip")
        )
    if kind == "Gateway":
        hosts = [listener.get("hostname") or "" for listener in spec.get("listeners") or ()]
        return Named(kind, _clean((*hosts, *extra)), _addresses(status.get("addresses"), "value"))
    parents = tuple(
        f"{parent.get('namespace') or namespace}/{parent['name']}"
        for parent in spec.get("parentRefs") or ()
        if parent.get("kind", "Gateway") == "Gateway"
    )
    return Named(kind, _clean((*(spec.get("hostnames") or ()), *extra)), (), parents)


def hosts_of(objects: Mapping[str, Mapping[str, Named]], zones: Iterable[str]) -> Iterator[tuple[str, Ip, str]]:
    """Yield ``(host name, address, "Kind namespace/name")`` of objects by kind and key; Services under each zone."""
    gateways = objects.get("Gateway", {})
    for kind, entries in objects.items():
        for key, one in entries.items():
            addresses = [*one.addresses]
            for parent in one.parents:
                addresses += gateways[parent].addresses if parent in gateways else ()
            hosts = [*one.hosts, *(f"{one.service}.{zone}" for zone in zones if one.service and zone)]
            for host in dict.fromkeys(hosts):
                for address in dict.fromkeys(addresses):
                    yield host, address, f"{kind} {key}"


class GatewayNames:
    """The names of one ``k8s_gateway`` line. ``take`` is told of every object that changes."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.objects: dict[str, dict[str, Named]] = {kind: {} for kind in RESOURCES if kind in settings.resources}
        self._hosts: dict[bytes, list[Ip]] | None = None

    def take(self, kind: str, key: str, one: Named | None) -> None:
        if kind in self.objects:
            if one is None:
                self.objects[kind].pop(key, None)
            else:
                self.objects[kind][key] = one
            self._hosts = None

    def _table(self) -> dict[bytes, list[Ip]]:
        """Return the names with their addresses, made anew after a change."""
        if self._hosts is None:
            self._hosts = {}
            zones = [wire.wire_to_name(zone) for zone in self.settings.zones]
            for host, address, _ in hosts_of(self.objects, zones):
                listed = self._hosts.setdefault(wire.name_to_wire(host), [])
                if address not in listed:
                    listed.append(address)
        return self._hosts

    def look(self, name: bytes, kind: int) -> Found | None:
        """Return the answer, None where others are to be asked: a root zone answers for the names it has alone."""
        settings = self.settings
        if not any(wire.is_below(name, zone) for zone in settings.zones):
            return None
        table = self._table()
        addresses, rest = table.get(name), name
        while addresses is None and len(rest) > 1:
            rest = rest[rest[0] + 1 :]
            addresses = table.get(b"\x01*" + rest)
        if addresses is not None:
            wanted = [address for address in addresses if kind in (type_of(address), wire.ANY)]
            made = [wire.record(name, type_of(address), settings.ttl, address.packed) for address in wanted]
            return Found(wire.NO_ERROR, made, [], [], True, "k8s_gateway")
        if any(
            wire.is_below(name, zone) for zone in (*settings.fallthrough, *(z for z in settings.zones if z == b"\0"))
        ):
            return None
        below = any(host.endswith(name) and wire.is_below(host, name) for host in table)
        return Found(wire.NO_ERROR if below else wire.NAME_ERROR, [], [], [], True, "k8s_gateway")


def _addresses(entries: Any, field: str) -> tuple[Ip, ...]:
    return tuple(address for entry in entries or () if (address := parsed(entry.get(field))) is not None)


def _clean(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return host names in lower case, without what cannot be one."""
    found = []
    for host in hosts:
        host = host.strip().rstrip(".").lower()
        try:
            if host and wire.name_to_wire(host):
                found.append(host)
        except wire.WireError:
            continue
    return tuple(dict.fromkeys(found))
