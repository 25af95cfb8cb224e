"""ClusterIPs and node ports of Services: given out on write, kept in memory, read from the store at start.

A reservation is made while the write is on its way, so that two writes never get the same address; ``commit`` frees what a
Service no longer has, ``release`` what a failed write had reserved.
Source: pkg/registry/core/service/storage/alloc.go, pkg/registry/core/service/ipallocator (static and dynamic bands).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from sampan.api.admission.claims import Claims
from sampan.api.admission.service_families import settle_families
from sampan.api.admission.service_ranges import Network, ServiceRanges
from sampan.api.errors import StatusError, invalid
from sampan.api.request import Admission
from sampan.api.resource import Cause, Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import invalid as bad_value
from sampan.schema.objects import Object
from sampan.store import Event
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

PREFIX = prefix_of("services")
ATTEMPTS = 64
STATIC_BAND = 256
"""Addresses at the low end (at most) are given out last: they are for those who choose their own (KEP-3070)."""


class ServiceAddresses:
    """The allocator of one API. Owners are ``namespace/name``."""

    def __init__(self, api: Api, cidrs: str, node_ports: tuple[int, int]) -> None:
        self.api = api
        self.ranges = ServiceRanges(api, cidrs)
        self.node_ports = node_ports
        self.claims = Claims(api.store)
        self._addresses: dict[str, str] = {}
        self._ports: dict[int, str] = {}

    async def load(self) -> None:
        """Take over what the Services in the store have."""
        self._addresses.clear()
        self._ports.clear()
        for record in (await self.api.store.page(PREFIX)).records:
            service = self.api.parsed(record)
            owner = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            self._addresses.update(dict.fromkeys(addresses(service), owner))
            self._ports.update(dict.fromkeys(ports(service), owner))

    async def follow(self, events: Sequence[Event]) -> None:
        """Take over what was written to Services, by whichever server."""
        for event in events:
            owner = event.record.key[len(PREFIX) :]
            new = {} if event.deleted else self.api.parsed(event.record)
            old = self.api.parsed(event.previous) if event.previous is not None else {}
            for address in set(addresses(old)) - set(addresses(new)):
                if self._addresses.get(address) == owner:
                    del self._addresses[address]
            for port in set(ports(old)) - set(ports(new)):
                if self._ports.get(port) == owner:
                    del self._ports[port]
            self._addresses.update(dict.fromkeys(addresses(new), owner))
            self._ports.update(dict.fromkeys(ports(new), owner))

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Service" and not resource.group and subresource != "status"

    async def admit(self, admission: Admission) -> None:
        service = admission.object
        if service is None or (admission.old is not None and admission.old["metadata"].get("deletionTimestamp")):
            return
        owner = f"{admission.namespace}/{admission.name}"
        await self._give_address(admission, service, owner)
        await self._give_ports(admission, service, owner)

    async def commit(self, admission: Admission) -> None:
        await self._settled(admission)

    async def release(self, admission: Admission) -> None:
        await self._settled(admission)

    async def _settled(self, admission: Admission) -> None:
        owner = f"{admission.namespace}/{admission.name}"
        self._settle(owner, admission)
        if self.api.store.shared and not admission.dry_run:
            record = self.api.store.get(PREFIX + owner)
            kept = given(self.api.parsed(record)) if record is not None else set()
            await self.claims.release((given(admission.object or {}) | given(admission.old or {})) - kept, owner)

    def _settle(self, owner: str, admission: Admission) -> None:
        """Make the owner's reservations those of the stored Service."""
        record = self.api.store.get(PREFIX + owner)
        service = self.api.parsed(record) if record is not None else {}
        have, have_ports = set(addresses(service)), set(ports(service))
        if admission.object is None and not have and not have_ports:
            self._addresses = {a: o for a, o in self._addresses.items() if o != owner}
            self._ports = {p: o for p, o in self._ports.items() if o != owner}
            return
        for service in (admission.object or {}, admission.old or {}):
            for address in addresses(service):
                if address not in have and self._addresses.get(address) == owner:
                    del self._addresses[address]
            for port in ports(service):
                if port not in have_ports and self._ports.get(port) == owner:
                    del self._ports[port]

    # addresses

    async def _give_address(self, admission: Admission, service: Object, owner: str) -> None:
        spec = mapping(service, "spec")
        if spec.get("type") == "ExternalName":
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if admission.old is not None:
                    spec.pop(key, None)
            return
        causes = settle_families(spec, mapping(admission.old, "spec"), self.ranges.families)
        if causes:
            raise invalid(admission.resource, admission.name, causes)
        given = list(items(spec, "clusterIPs")) or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
        if given[:1] == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return
        families = items(spec, "ipFamilies") or self.ranges.families[:1]
        for index, family in enumerate(families):
            wanted = given[index] if index < len(given) else ""
            if wanted:
                await self._take_address(admission, wanted, owner, given)
            else:
                given[index:] = [await self._new_address(admission, family, owner)]
            # said at once: what is refused next gives back what was given before
            spec["clusterIP"], spec["clusterIPs"] = given[0], given

    async def _new_address(self, admission: Admission, family: str, owner: str) -> str:
        elsewhere: set[str] = set()  # given out by another server this moment
        while (found := self._free_address(family, elsewhere)) and not await self.claims.claim(
            found, owner, admission.dry_run
        ):
            elsewhere.add(found)
        if not found:
            raise StatusError(
                500, "InternalError", "Internal error occurred: failed to allocate a serviceIP: range is full"
            )
        self._addresses[found] = owner
        return found

    async def _take_address(self, admission: Admission, wanted: str, owner: str, every: list[str]) -> None:
        held_by = self._addresses.get(wanted)
        if held_by == owner:
            return
        try:
            inside = self.ranges.have(wanted)
        except ValueError:
            return  # validation names it
        if held_by is not None or (inside and not await self.claims.claim(wanted, owner, admission.dry_run)):
            raise refused(
                admission,
                "spec.clusterIPs",
                every,
                f"failed to allocate IP {wanted}: provided IP is already allocated",
            )
        if not inside:
            own = next((one for one in self.ranges.own if one.version == ipaddress.ip_address(wanted).version), "")
            valid = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {own}"
            why = f"failed to allocate IP {wanted}: {valid}"
            raise refused(admission, "spec.clusterIPs", every, why)
        self._addresses[wanted] = owner

    def _free_address(self, family: str, elsewhere: set[str]) -> str:
        return next((free for network in self.ranges.of(family) if (free := self._free_in(network, elsewhere))), "")

    def _free_in(self, network: Network, elsewhere: set[str]) -> str:
        first, size = int(network.network_address), min(network.num_addresses, 2**20)
        band = min(max(16, size // 16), STATIC_BAND)
        band = min(band, size - 1)  # of a tiny range
        for low, high in ((band, size - 1), (1, band)):
            if low >= high:
                continue
            for offset in (random.randrange(low, high) for _ in range(ATTEMPTS)):
                address = str(ipaddress.ip_address(first + offset))
                if address not in self._addresses and address not in elsewhere:
                    return address
            for offset in range(low, high):
                address = str(ipaddress.ip_address(first + offset))
                if address not in self._addresses and address not in elsewhere:
                    return address
        return ""

    # node ports

    async def _give_ports(self, admission: Admission, service: Object, owner: str) -> None:
        spec = mapping(service, "spec")
        kind = spec.get("type")
        wants = kind == "NodePort" or (
            kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
        )
        listed = items(spec, "ports")
        for index, port in enumerate(listed):
            number = port.get("nodePort")
            if number:
                await self._take_port(admission, f"spec.ports[{index}].nodePort", number, owner)
        for port in listed:
            if wants and not port.get("nodePort"):
                # one port number serves the same port of another protocol
                twin = next(
                    (
                        p["nodePort"]
                        for p in listed
                        if p.get("port") == port.get("port")
                        and p.get("nodePort")
                        and p.get("protocol") != port.get("protocol")
                    ),
                    None,
                )
                port["nodePort"] = twin or await self._free_port(admission, owner)
        if (
            kind == "LoadBalancer"
            and spec.get("externalTrafficPolicy") == "Local"
            and not spec.get("healthCheckNodePort")
        ):
            spec["healthCheckNodePort"] = await self._free_port(admission, owner)

    async def _take_port(self, admission: Admission, field: str, number: int, owner: str) -> None:
        low, high = self.node_ports
        held_by = self._ports.get(number)
        if held_by == owner:
            return
        if not low <= number <= high:
            why = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
            raise refused(admission, field, number, why)
        if held_by is not None or not await self.claims.claim(str(number), owner, admission.dry_run):
            raise refused(admission, field, number, "provided port is already allocated")
        self._ports[number] = owner

    async def _free_port(self, admission: Admission, owner: str) -> int:
        low, high = self.node_ports
        random_ones = (random.randint(low, high) for _ in range(ATTEMPTS))
        for number in chain(random_ones, range(low, high + 1)):
            if number not in self._ports and await self.claims.claim(str(number), owner, admission.dry_run):
                self._ports[number] = owner
                return number
        raise StatusError(500, "InternalError", "Internal error occurred: failed to allocate a nodePort: range is full")


def refused(admission: Admission, field: str, value: Any, why: str) -> StatusError:
    return invalid(admission.resource, admission.name, [Cause(*bad_value(field, value, why))])


def addresses(service: Object) -> Iterator[str]:
    for address in items(service, "spec", "clusterIPs") or [text(service, "spec", "clusterIP")]:
        if address and address != "None":
            yield address


def given(service: Object) -> set[str]:
    """Return all that was given out to a Service."""
    return {*addresses(service), *map(str, ports(service))}


def ports(service: Object) -> Iterator[int]:
    for port in items(service, "spec", "ports"):
        if port.get("nodePort"):
            yield port["nodePort"]
    check = mapping(service, "spec").get("healthCheckNodePort")
    if check:
        yield check
