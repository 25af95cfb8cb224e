"""Values that were made of others and are worth keeping for a while, bounded by bytes: what was kept longest goes first.

Bounded by their number, 8,000 pods would take ten times the memory of 8,000 small objects.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """``most_bytes`` of values by key."""

    __slots__ = ("_bytes", "_kept", "_most")

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: dict[K, tuple[V, int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        return found[0] if found is not None else None

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._bytes = 0

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value that counts as ``size`` bytes, in the place of an older one of its key."""
        kept = self._kept
        older = kept.pop(key, None)
        if older is not None:
            self._bytes -= older[1]
        if size > self._most:
            return
        kept[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most:
            first = next(iter(kept))
            self._bytes -= kept.pop(first)[1]
