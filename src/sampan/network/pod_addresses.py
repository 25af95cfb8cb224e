"""The addresses of a node's pods: one of each family, and the hardware address that carries them.

A pod's number in the first range is its number in the second one, too, so one look at a link's hardware address tells
both, and an address is free when its link is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.addresses import AddressPool
from sampan.network.families import Address, Network

OUTER, INNER = "02:53", "0a:58"
"""What the hardware addresses of the two ends of a link begin with."""


def mac_of(address: Address, prefix: str) -> str:
    """Return a hardware address that carries an IP address (the last four bytes of it)."""
    return f"{prefix}:{address.packed[-4:].hex(':')}"


class PodAddresses:
    """The pool of a node. ``networks``: one range, or one of each family; the first is the main one."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self.gateways: tuple[Address, ...] = tuple(network[1] for network in self.networks)
        self.pool = AddressPool(self.networks[0], [self.gateways[0]])

    def allocate(self, owner: str) -> tuple[Address, ...]:
        """Return a pod's addresses. Raises ``NoFreeAddress``."""
        return self._with_second(self.pool.allocate(owner))

    def release(self, owner: str) -> None:
        self.pool.release(owner)

    def take(self, mac: str, owner: str) -> None:
        """Note that a link with this hardware address is there."""
        self.pool.take(self._first(mac), owner)

    def of(self, mac: str) -> tuple[Address, ...]:
        """Return the addresses that a hardware address carries."""
        return self._with_second(self._first(mac))

    def held(self, owner: str | None = None) -> list[Address]:
        """Return the addresses that an owner has; without one, those of all."""
        firsts = [first for first, holder in list(self.pool.taken.items()) if owner in (None, holder)]
        return [address for first in firsts for address in self._with_second(first)]

    def _first(self, mac: str) -> Address:
        """Return the main address that a hardware address carries."""
        carried = int.from_bytes(bytes.fromhex(mac.replace(":", ""))[2:], "big")
        network = self.networks[0]
        return network[0] + ((carried - int(network[0])) & 0xFFFFFFFF)

    def _with_second(self, first: Address) -> tuple[Address, ...]:
        number = int(first) - int(self.networks[0][0])
        return (first, *(network[number] for network in self.networks[1:]))
