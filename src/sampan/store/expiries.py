"""Which keys are to go when: the times to live of a store that has no leases. Pure: the clock comes in."""

from __future__ import annotations

import heapq
from typing import NamedTuple


class Expiry(NamedTuple):
    """The write with that revision ends at a time (seconds since the epoch), unless the key was written since."""

    at: float
    revision: int
    key: str


class Expiries:
    """Expiries to come, the next one first."""

    def __init__(self) -> None:
        self._heap: list[Expiry] = []

    def add(self, expiry: Expiry) -> None:
        heapq.heappush(self._heap, expiry)

    def next(self) -> float | None:
        """Return when the next one is due; None where there is none."""
        return self._heap[0].at if self._heap else None

    def due(self, now: float, at_most: int) -> list[Expiry]:
        """Take out what is due."""
        taken: list[Expiry] = []
        while self._heap and self._heap[0].at <= now and len(taken) < at_most:
            taken.append(heapq.heappop(self._heap))
        return taken
