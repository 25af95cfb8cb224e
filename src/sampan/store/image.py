"""A frozen state of a store: what a fork begins with.

An image is made once (``SqliteStore.image``) and begun with many times: the records are shared, and only the dict and the
list that index them are copied, so that a fork of a fresh cluster takes microseconds and no byte is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sampan.store.protocol import Record


@dataclass(frozen=True, slots=True)
class Image:
    """All records of a store at one revision. Nobody changes its collections."""

    records: Mapping[str, Record]
    keys: Sequence[str]
    """The keys of ``records``, sorted."""
    revision: int

    @classmethod
    def of(cls, records: Mapping[str, Record], revision: int) -> Image:
        """Return the image of records that the caller gives away."""
        return cls(records, sorted(records), revision)
