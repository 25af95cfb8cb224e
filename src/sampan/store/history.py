"""What is, and what was since the last compaction: the whole state of the store in memory.

Durable events come in, in revision order; records, lists at a revision and past events are read out. Nothing here does
I/O. The newest record of every key is in one dict, and in a list in the order of keys beside the sorted list of those keys: a
page is a slice, and looks nothing up. The recent events allow any revision back to the last compaction to be answered by
undoing what came after it.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from sampan.store.image import Image
from sampan.store.pages import Slice, Slices
from sampan.store.protocol import Compacted, Event, FutureRevision, Page, Record

MARK_SECONDS = 1.0
SNAPSHOTS = 8
"""Old lists kept for the next pages of a paged list."""


def prefix_end(prefix: str) -> str:
    """Return the first string after every string that starts with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else chr(0x10FFFF)


def revision_of(kept: Event | Record) -> int:
    return kept.revision


def key_of(kept: Event | Record) -> str:
    return kept.key if kept.__class__ is Record else kept.record.key  # type: ignore[union-attr]


def event_of(kept: Event | Record) -> Event:
    """Return the event that is kept as itself, or as the record alone that it brought into being."""
    return Event(kept, None, False) if kept.__class__ is Record else kept  # type: ignore[return-value]


def kept_of(event: Event) -> Event | Record:
    return event if event.deleted or event.previous is not None else event.record


def size_of(kept: Event | Record) -> int:
    """Return how many bytes only an event keeps: a record that it made is another's, or the newest."""
    if kept.__class__ is Record:
        return 0
    event = event_of(kept)
    return (len(event.previous.value) if event.previous else 0) + (len(event.record.value) if event.deleted else 0)


class History:
    """The newest records, and the events since ``compacted``."""

    def __init__(self) -> None:
        self.revision = 0
        self.compacted = 0
        self.records: dict[str, Record] = {}
        self._keys: list[str] = []
        self._ordered: list[Record] = []
        """The newest records in the order of ``_keys``."""
        self._events: list[Event | Record] = []
        """A record alone is the event that it came into being: most events of most stores are that."""
        self.size_bytes = 0
        """Of what only the past keeps: what was there before a change, and what is gone."""
        self._snapshots: dict[tuple[str, int], list[Record]] = {}
        self._slices = Slices()
        self._same_until: dict[tuple[str, int], int] = {}
        """Up to which revision lists at an older one are known to have stayed as they were."""
        self.marks: list[tuple[int, float]] = []
        """When revisions were written: the first of every second with writes."""

    def load(self, events: Sequence[Event], compacted: int, revision: int) -> None:
        """Start from the rows of a database. Events up to ``compacted`` only tell the state."""
        for event in events:
            if event.deleted:
                self.records.pop(event.record.key, None)
            else:
                self.records[event.record.key] = event.record
        self._order(sorted(self.records))
        self.compacted = compacted
        self._events = [kept_of(event) for event in events if event.record.revision > compacted]
        self.size_bytes = sum(map(size_of, self._events))
        self.revision = max(1, revision, compacted, events[-1].record.revision if events else 0)

    def begin(self, image: Image) -> None:
        """Start from an image. Its history is not there: its revision counts as compacted."""
        self.records = dict(image.records)
        self._order(list(image.keys))
        self.revision = self.compacted = image.revision

    def start(self, revision: int) -> None:
        """Start from the ``records`` that were put in, as they were at ``revision``."""
        self._order(sorted(self.records))
        self.revision = self.compacted = revision

    def _order(self, keys: list[str]) -> None:
        self._keys, self._ordered = keys, list(map(self.records.__getitem__, keys))

    def image(self) -> Image:
        """Return the present state, frozen."""
        return Image(dict(self.records), tuple(self._keys), self.revision)

    def apply(self, events: Sequence[Event]) -> None:
        """Take in events that have become durable."""
        for event in events:
            record = event.record
            key = record.key
            if self._slices:
                self._slices.changed(key)
            previous = event.previous
            if previous is not None:
                self.size_bytes += len(previous.value) + (len(record.value) if event.deleted else 0)
            if event.deleted:
                if self.records.pop(key, None) is not None:
                    at = bisect_left(self._keys, key)
                    del self._keys[at], self._ordered[at]
                continue
            at = bisect_left(self._keys, key)
            if key in self.records:
                self._ordered[at] = record
            else:
                self._keys.insert(at, key)
                self._ordered.insert(at, record)
            self.records[key] = record
        self._events += map(kept_of, events)
        self.revision = events[-1].record.revision
        now = time.time()
        if not self.marks or now - self.marks[-1][1] >= MARK_SECONDS:
            self.marks.append((events[0].record.revision, now))

    def advance(self, revision: int) -> None:
        """Take in that nothing of ours changed up to ``revision``."""
        self.revision = max(self.revision, revision)

    def change(self, key: str, revision: int) -> Event | None:
        """Return the event of a key at exactly that revision, if it is still known."""
        for index in range(bisect_left(self._events, revision, key=revision_of), len(self._events)):
            event = event_of(self._events[index])
            if event.record.revision != revision:
                break
            if event.record.key == key:
                return event
        return None

    def of(self, key: str) -> list[Event]:
        """Return the known changes of a key, oldest first."""
        return [event_of(kept) for kept in self._events if key_of(kept) == key]

    def time_of(self, revision: int) -> float | None:
        """Return about when a revision was written."""
        index = bisect_right(self.marks, revision, key=lambda mark: mark[0])
        return self.marks[index - 1][1] if index else None

    def since(self, revision: int, prefix: str) -> list[Event]:
        """Return the events under ``prefix`` after ``revision``. Raises ``Compacted``."""
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        first = bisect_right(self._events, revision, key=revision_of)
        return [event_of(kept) for kept in self._events[first:] if key_of(kept).startswith(prefix)]

    def page(self, prefix: str, limit: int, after: str, revision: int) -> Page:
        """Return a slice of the list under ``prefix`` as it was at ``revision`` (0: newest)."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if 0 < revision < self.compacted:
            raise Compacted(revision, self.compacted)
        start, end = bisect_left(self._keys, prefix), bisect_left(self._keys, prefix_end(prefix))
        if revision and revision != self.revision and not self._unchanged(prefix, revision):
            return self._old_page(prefix, limit, after, revision, start, end)
        if after:
            start = max(start, bisect_right(self._keys, after))
        stop = min(start + limit, end) if limit else end
        records = self._slices.get(prefix, after, limit)
        if records is None:
            records = Slice(self._ordered[start:stop])
            self._slices.keep(prefix, after, limit, records)
        return Page(records, revision or self.revision, stop < end, max(end - stop, 0))

    def _unchanged(self, prefix: str, revision: int) -> bool:
        """Whether the list under ``prefix`` is still what it was at a revision; an event is looked at once for all pages."""
        at = (prefix, revision)
        if at in self._snapshots:
            return False
        first = bisect_right(self._events, self._same_until.pop(at, revision), key=revision_of)
        for index in range(first, len(self._events)):
            if key_of(self._events[index]).startswith(prefix):
                return False
        if len(self._same_until) >= SNAPSHOTS:
            del self._same_until[next(iter(self._same_until))]
        self._same_until[at] = self.revision
        return True

    def _old_page(self, prefix: str, limit: int, after: str, revision: int, start: int, end: int) -> Page:
        records = self._snapshots.get((prefix, revision))
        if records is None:
            records = self._undo(prefix, revision, self._ordered[start:end])
            while len(self._snapshots) >= SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
            self._snapshots[prefix, revision] = records
        start = bisect_right(records, after, key=lambda record: record.key) if after else 0
        stop = min(start + limit, len(records)) if limit else len(records)
        return Page(records[start:stop], revision, stop < len(records), len(records) - stop)

    def _undo(self, prefix: str, revision: int, newest: list[Record]) -> list[Record]:
        state = {record.key: record for record in newest}
        for event in reversed(self.since(revision, prefix)):
            if event.previous is None:
                state.pop(event.record.key, None)
            else:
                state[event.record.key] = event.previous
        return [state[key] for key in sorted(state)]

    def forget(self, revision: int) -> None:
        """Drop the events up to ``revision``."""
        gone = bisect_right(self._events, revision, key=revision_of)
        self.size_bytes -= sum(map(size_of, self._events[:gone]))
        del self._events[:gone]
        self.compacted = revision
        # the last mark before stays: it is of the oldest revisions that are kept
        del self.marks[: max(bisect_right(self.marks, revision, key=lambda mark: mark[0]) - 1, 0)]
        self._snapshots = {at: records for at, records in self._snapshots.items() if at[1] >= revision}

    def event_count(self) -> int:
        return len(self._events)

    def oldest_to_keep(self, count: int) -> int:
        """Return the revision to compact at so that the last ``count`` events stay."""
        if len(self._events) <= count:
            return self.compacted
        return self._events[-count - 1].revision

    def oldest_within(self, most_bytes: int) -> int:
        """Return the revision to compact at so that no more than ``most_bytes`` of the past stay."""
        excess, at = self.size_bytes - most_bytes, 0
        while excess > 0 and at < len(self._events):
            excess -= size_of(self._events[at])
            at += 1
        return self._events[at - 1].revision if at else self.compacted
