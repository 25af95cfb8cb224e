"""Addresses for simulated pods and nodes: the next of a range that nobody has, round and round."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable


class Addresses:
    """``taken`` says whether an address is in use by an object that is known."""

    def __init__(self, cidr: str, taken: Callable[[str], bool]) -> None:
        self._network = ipaddress.ip_network(cidr)
        self._taken = taken
        self._given: dict[str, str] = {}
        self._holders: dict[str, str] = {}
        self._last = 0

    def of(self, key: str) -> str:
        """Return the address of a key: the one it was given, or the next that is free; ``""`` when all are taken."""
        if key not in self._given:
            address = self._free()
            if not address:
                return ""
            self._given[key], self._holders[address] = address, key
        return self._given[key]

    def release(self, key: str) -> None:
        address = self._given.pop(key, None)
        if address is not None:
            del self._holders[address]

    def _free(self) -> str:
        size = self._network.num_addresses - 2
        for _ in range(size):
            self._last = self._last % size + 1
            address = str(self._network[self._last])
            if address not in self._holders and not self._taken(address):
                return address
        return ""
