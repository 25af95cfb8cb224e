"""The ranges that Services get their ClusterIPs from: the one of the server's own, and those of ServiceCIDRs.

A range that is being deleted gives out nothing more. Source: KEP-1880.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sampan.api.resources.reading import items
from sampan.schema.objects import Object
from sampan.store import Event
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

PREFIX = prefix_of("servicecidrs.networking.k8s.io")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(cidrs: str) -> tuple[Network, ...]:
    """Return the ranges of ``service-cluster-ip-range``: one, or two of different families with a comma between. Raises
    ``ValueError``."""
    found = tuple(ipaddress.ip_network(text.strip()) for text in cidrs.split(","))
    if len(found) > 2 or len({network.version for network in found}) != len(found):
        raise ValueError(f"{cidrs!r}: one range, or one of IPv4 and one of IPv6")
    return found


class ServiceRanges:
    def __init__(self, api: Api, cidrs: str) -> None:
        self._api = api
        self.own = networks_of(cidrs)
        """One range, or one of each family, the main one first."""
        self._added: dict[str, list[Network]] = {}

    async def load(self) -> None:
        """Take over the ServiceCIDRs in the store."""
        self._added.clear()
        for record in (await self._api.store.page(PREFIX)).records:
            self._take(record.key, self._api.parsed(record))

    async def follow(self, events: Sequence[Event]) -> None:
        for event in events:
            self._added.pop(event.record.key, None)
            if not event.deleted:
                self._take(event.record.key, self._api.parsed(event.record))

    def _take(self, key: str, service_cidr: Object) -> None:
        if "deletionTimestamp" not in service_cidr["metadata"]:
            networks = [ipaddress.ip_network(one) for one in items(service_cidr, "spec", "cidrs")]
            known = {network.version for network in self.own}
            self._added[key] = [one for one in networks if one.version in known and one not in self.own]

    @property
    def families(self) -> tuple[str, ...]:
        """Return the families that Services can have, the main one first."""
        return tuple(f"IPv{network.version}" for network in self.own)

    def __iter__(self) -> Iterator[Network]:
        """Yield the ranges, the server's own first."""
        yield from self.own
        for networks in self._added.values():
            yield from networks

    def of(self, family: str) -> list[Network]:
        return [network for network in self if f"IPv{network.version}" == family]

    def have(self, address: str) -> bool:
        """Whether an address is in one of the ranges. Raises ``ValueError`` for what is none."""
        wanted = ipaddress.ip_address(address)
        return any(wanted in network for network in self)
