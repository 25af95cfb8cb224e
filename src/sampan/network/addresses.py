"""Which pod address is free: given out in turn, so that one given back is not soon somebody else's."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.network.families import Address, Network

AT_MOST = 1 << 18
"""Of a range that has more addresses, so many are given out."""


class NoFreeAddress(Exception):
    """Every address of the range is given out."""


class AddressPool:
    """The addresses of a range but its first (the network), ``reserved`` ones and the last (the broadcast)."""

    def __init__(self, network: Network, reserved: Iterable[Address] = ()) -> None:
        self.network = network
        self.taken: dict[Address, str] = {}
        self._reserved = {network.network_address, network.broadcast_address, *reserved}
        self._next = 0

    def take(self, address: Address, owner: str) -> bool:
        """Give out a certain address; return whether it was free, or the owner's already."""
        if address not in self.network or address in self._reserved:
            return False
        return self.taken.setdefault(address, owner) == owner

    def allocate(self, owner: str) -> Address:
        """Return a free address for an owner. Raises ``NoFreeAddress``."""
        size = min(self.network.num_addresses, AT_MOST)
        for step in range(size):
            offset = (self._next + step) % size
            address = self.network[offset]
            if address not in self.taken and address not in self._reserved:
                self._next = offset + 1
                self.taken[address] = owner
                return address
        raise NoFreeAddress(f"every address of {self.network} is given out")

    def release(self, owner: str) -> None:
        """Take back what an owner has."""
        for address in [address for address, holder in self.taken.items() if holder == owner]:
            del self.taken[address]
