"""A batch that keeps runs of records as they stand in their files, until somebody wants to see each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from sampan.logs.account import Account
from sampan.logs.joining import Record, Run
from sampan.logs.log_record import Delivery, Fields, Labels


class Taken(NamedTuple):
    """Records that steps have taken together: as lines of ``json:`` outputs, and each by itself if somebody asks."""

    json: bytes
    deliveries: Callable[[], list[Delivery]]


Part = tuple[Labels, Record | Run | Taken, int, Fields | None]
"""As ``Delivery``, or a run in the place of its record, or what was made of a run."""


class Gathered(Sequence[Delivery]):
    """A sequence of deliveries. ``parts`` has the runs whole, for those who can give out many records at once."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.size = 0
        """Bytes of the records, about: runs have their times with them."""
        self._count = 0
        self._each: list[Delivery] | None = None

    def add(self, labels: Labels, items: Iterable[Record | Run], observed: int, account: Account) -> None:
        """Add records of one stream."""
        size = count = joined = newlines = 0
        for item in items:
            self.parts.append((labels, item, observed, None))
            if isinstance(item, Run):
                size += len(item.raw)
                count += item.lines
            else:
                size += len(item.text)
                count += 1
                if item.lines > 1:
                    joined += 1
                    newlines += item.lines - 1
        self.size += size
        self._count += count
        self._each = None
        account.records += count
        account.given += count
        account.joined += joined
        account.given_bytes += size - newlines

    def take(self, deliveries: list[Delivery]) -> None:
        """Add records that have been processed."""
        self.parts += deliveries
        self.size += sum(len(record.text) for _, record, _, _ in deliveries)
        self._count += len(deliveries)
        self._each = None

    def take_together(self, labels: Labels, taken: Taken, count: int, observed: int) -> None:
        """Add records that have been processed together."""
        self.parts.append((labels, taken, observed, None))
        self.size += len(taken.json)
        self._count += count
        self._each = None

    def _flat(self) -> list[Delivery]:
        if self._each is None:
            self._each = []
            for labels, item, observed, fields in self.parts:
                if isinstance(item, Run):
                    self._each += [(labels, record, observed, fields) for record in item.records()]
                elif isinstance(item, Taken):
                    self._each += item.deliveries()
                else:
                    self._each.append((labels, item, observed, fields))
        return self._each

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._flat())

    @overload
    def __getitem__(self, at: int) -> Delivery: ...
    @overload
    def __getitem__(self, at: slice) -> list[Delivery]: ...
    def __getitem__(self, at: int | slice) -> Delivery | list[Delivery]:
        return self._flat()[at]
