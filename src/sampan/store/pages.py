"""Slices of lists that were read lately, kept until something below their prefix changes.

Informers that list again, and clients that walk through pages side by side, ask for the same slices. A kept one costs
nothing to read again: what is looked at for an answer (the values, their sizes) is looked at once. Only references are kept,
and of what changes nothing: no past is held.
"""

from __future__ import annotations

from functools import cached_property

from sampan.store.protocol import Record

FEWEST = 32
"""Shorter slices are made as fast as they are found."""
MOST_RECORDS = 1 << 16
"""Of all slices together: about a megabyte of references."""


class Values(tuple[bytes, ...]):
    """The values of a slice, with ``size_bytes`` of them all and ``largest_bytes`` of the largest, counted once."""

    size_bytes: int
    largest_bytes: int

    @classmethod
    def of(cls, records: tuple[Record, ...]) -> Values:
        values = cls([record.value for record in records])
        sizes = list(map(len, values))
        values.size_bytes, values.largest_bytes = sum(sizes), max(sizes, default=0)
        return values


class Slice(tuple[Record, ...]):
    """Records in the order of their keys."""

    @cached_property
    def values(self) -> Values:
        return Values.of(self)


class Slices:
    """The slices that are kept, by prefix, and in it by the key they begin after and their limit."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[tuple[str, int], Slice]] = {}
        self._count = 0

    def get(self, prefix: str, after: str, limit: int) -> Slice | None:
        below = self._kept.get(prefix)
        return below.get((after, limit)) if below else None

    def keep(self, prefix: str, after: str, limit: int, found: Slice) -> None:
        """Keep a slice of the newest list. What is too much is let go of, the prefixes asked for first before others."""
        if not FEWEST <= len(found) <= MOST_RECORDS:
            return
        self._kept.setdefault(prefix, {})[after, limit] = found
        self._count += len(found)
        while self._count > MOST_RECORDS:
            self._drop(next(iter(self._kept)))

    def changed(self, key: str) -> None:
        """Let go of the slices that a change of this key makes old."""
        for prefix in [prefix for prefix in self._kept if key.startswith(prefix)]:
            self._drop(prefix)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def _drop(self, prefix: str) -> None:
        self._count -= sum(map(len, self._kept.pop(prefix).values()))
