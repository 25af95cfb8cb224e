"""Which endpoints of a Service's port get its packets on this node.

``candidates`` reads them off the EndpointSlices of one family, ``choose`` picks: the ready ones, those near by where the
slices hint at it, those of this node for a traffic policy ``Local``, and where none is ready those that still serve while
they end. Source: pkg/proxy/topology.go, KEP-1669 (terminating endpoints), KEP-2086 (internal traffic policy), KEP-2433
and KEP-4444 (hints by zone), KEP-3015 (PreferSameNode).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sampan.network.families import Address, Family, Network, parse_address
from sampan.schema.objects import Object


class Endpoint(NamedTuple):
    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def endpoint_data(endpoint: Endpoint) -> bytes:
    """Return an endpoint as the data of an nftables map."""
    return endpoint.address.packed + endpoint.port.to_bytes(2, "big") + b"\0\0"


class Candidate(NamedTuple):
    endpoint: Endpoint
    ready: bool
    serving: bool
    terminating: bool
    local: bool
    zones: frozenset[str]
    """From where it is best reached, as the slice hints: zones, and nodes."""
    nodes: frozenset[str]

    @property
    def ending(self) -> bool:
        """Whether it still serves while it ends."""
        return not self.ready and self.serving and self.terminating


@dataclass(frozen=True, slots=True)
class Place:
    """Where packets are picked endpoints for."""

    node_name: str
    zone: str = ""
    addresses: tuple[Address, ...] = ()
    pod_cidrs: tuple[Network, ...] = ()

    def has(self, address: Address, node_name: str | None) -> bool:
        """Whether an endpoint is on this node: its slice says so, or, where it names no node, its address does."""
        if node_name:
            return node_name == self.node_name
        return address in self.addresses or any(address in network for network in self.pod_cidrs)


class Choice(NamedTuple):
    cluster: list[Endpoint]
    """Where the traffic policy ``Cluster`` leads."""
    local: list[Endpoint]
    """Where the traffic policy ``Local`` leads."""
    anywhere: bool
    """Whether there is any endpoint that could be used, here or elsewhere."""


def candidates(slices: Iterable[Object], port: Mapping[str, Any], family: Family, place: Place) -> list[Candidate]:
    """Return the endpoints of a Service's port in one family, sorted, each once."""
    # by what sorts as addresses and ports do, and is cheaper to hash and to compare
    found: dict[bytes, Candidate] = {}
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    for piece in slices:
        if piece.get("addressType") != family.name:
            continue
        for entry in piece.get("ports") or ():
            number = entry.get("port")
            if not number or (entry.get("name") or "", entry.get("protocol") or "TCP") != wanted:
                continue
            for one in piece.get("endpoints") or ():
                candidate = _candidate(one, int(number), family, place)
                if candidate is None:
                    continue
                data = endpoint_data(candidate.endpoint)
                known = found.get(data)
                if known is None or (candidate.ready and not known.ready):
                    found[data] = candidate
    return [found[data] for data in sorted(found)]


def _candidate(entry: Object, port: int, family: Family, place: Place) -> Candidate | None:
    address = parse_address(next(iter(entry.get("addresses") or ()), None))
    if address is None or address.version != family.version:
        return None
    conditions = entry.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = entry.get("hints") or {}
    return Candidate(
        Endpoint(address, port),
        ready,
        ready if serving is None else bool(serving),
        conditions.get("terminating") is True,
        place.has(address, entry.get("nodeName")),
        _names(hints.get("forZones")),
        _names(hints.get("forNodes")),
    )


def _names(listed: Any) -> frozenset[str]:
    return frozenset(one["name"] for one in listed or () if one.get("name"))


def choose(listed: list[Candidate], place: Place) -> Choice:
    """Return the endpoints for each traffic policy."""
    ready = [one for one in listed if one.ready]
    near = nearness(ready, place)
    cluster = [one for one in ready if near(one)] or [one for one in listed if one.ending]
    local = [one for one in ready if one.local] or [one for one in listed if one.local and one.ending]
    return Choice([one.endpoint for one in cluster], [one.endpoint for one in local], bool(cluster or local))


def nearness(ready: list[Candidate], place: Place) -> Callable[[Candidate], bool]:
    """Return what tells whether an endpoint is near enough. Hints count only when every ready endpoint has one and one of
    them is for here: else traffic goes anywhere, rather than nowhere."""
    if ready and all(one.nodes for one in ready) and any(place.node_name in one.nodes for one in ready):
        return lambda one: place.node_name in one.nodes
    if ready and place.zone and all(one.zones for one in ready) and any(place.zone in one.zones for one in ready):
        return lambda one: place.zone in one.zones
    return lambda one: True
