"""Streams of events: who watches which prefix, and how the events of a commit reach them.

A commit's events come in once; each watcher gets its own batch through a plain list and one wake-up. A watcher that
does not take its events is ended, never waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from sampan.store.protocol import Concern, Event, StoreError

logger = logging.getLogger("sampan.store")

BUFFERED_EVENTS = 50_000
"""Events a watcher may be behind. Objects are shared with the store's history: who is behind that is ended, too."""


class PrefixWatch:
    """One watcher's stream: ``async for events in watch``."""

    def __init__(self, watchers: Watchers, prefix: str, since: int, concern: Concern | None = None) -> None:
        self.prefix = prefix
        self.concern = concern
        self._since = since
        self._watchers = watchers
        self._buffer: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._end: BaseException | None = None
        self._nudged = False

    def push(self, event: Event) -> None:
        if event.record.revision <= self._since or self._end is not None:
            return  # ended in the middle of its past: what follows would hide what is missing
        self._buffer.append(event)
        if len(self._buffer) > BUFFERED_EVENTS:
            self._buffer.clear()
            self.end(StoreError(f"the watcher of {self.prefix} fell {BUFFERED_EVENTS} events behind"))
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def nudge(self) -> None:
        self._nudged = True
        self.wake()

    def end(self, reason: BaseException) -> None:
        """End the iteration with ``reason`` after what is buffered."""
        if self._end is None:
            self._end = reason
            self._watchers.remove(self)
            self.wake()

    def end_behind(self, revision: int) -> None:
        if self._buffer and self._buffer[0].record.revision <= revision:
            self._buffer.clear()
            self.end(StoreError(f"the watcher of {self.prefix} is behind what is kept of history"))

    def close(self) -> None:
        self._buffer.clear()
        self.end(StopAsyncIteration())

    def finish(self) -> None:
        self.end(StopAsyncIteration())

    def __aiter__(self) -> PrefixWatch:
        return self

    async def __anext__(self) -> list[Event]:
        while not self._buffer and not self._nudged:
            if self._end is not None:
                raise self._end
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._nudged = False
        events, self._buffer = self._buffer, []
        return events


class Concerned:
    """The watchers of one prefix that are concerned with one name, by the value."""

    __slots__ = ("by_value", "values")

    def __init__(self, values: Callable[[Event], Collection[str]]) -> None:
        self.values = values
        self.by_value: dict[str, dict[PrefixWatch, None]] = {}

    def push(self, event: Event) -> None:
        """Hand an event to whom it concerns. Where nobody can tell, each of them is ended, and looks anew: others, and who
        waits for the write, have nothing to do with that."""
        try:
            values = self.values(event)
        except Exception as error:
            logger.exception("%s: whom a change concerns cannot be told", event.record.key)
            for watch in [watch for watching in self.by_value.values() for watch in watching]:
                watch.end(StoreError(f"{event.record.key} cannot be read: {error}"))
            return
        for value in values:
            for watch in tuple(self.by_value.get(value, ())):
                watch.push(event)


class Watchers:
    """All watchers of a store, found by the prefixes of a key, and those with a concern by its value."""

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[PrefixWatch, None]] = {}
        self._concerned: dict[str, dict[str, Concerned]] = {}

    def add(self, prefix: str, since: int, past: Sequence[Event], concern: Concern | None = None) -> PrefixWatch:
        """Return a new watcher that begins with the ``past`` events."""
        watch = PrefixWatch(self, prefix, since, concern)
        if concern is None:
            self._by_prefix.setdefault(prefix, {})[watch] = None
        else:
            groups = self._concerned.setdefault(prefix, {})
            group = groups.get(concern.name) or groups.setdefault(concern.name, Concerned(concern.values))
            group.by_value.setdefault(concern.value, {})[watch] = None
        for event in past:
            watch.push(event)
        return watch

    def remove(self, watch: PrefixWatch) -> None:
        if watch.concern is not None:
            self._remove_concerned(watch, watch.concern)
            return
        watching = self._by_prefix.get(watch.prefix)
        if watching is not None:
            watching.pop(watch, None)
            if not watching:
                del self._by_prefix[watch.prefix]

    def _remove_concerned(self, watch: PrefixWatch, concern: Concern) -> None:
        groups = self._concerned.get(watch.prefix, {})
        group = groups.get(concern.name)
        watching = group.by_value.get(concern.value) if group else None
        if group is None or watching is None:
            return
        watching.pop(watch, None)
        if not watching:
            del group.by_value[concern.value]
        if not group.by_value:
            del groups[concern.name]
        if not groups:
            del self._concerned[watch.prefix]

    def publish(self, events: Sequence[Event]) -> None:
        """Hand the events to every watcher of a prefix of their keys. Prefixes end with ``/`` or are whole keys."""
        by_prefix, concerned = self._by_prefix, self._concerned
        if not by_prefix and not concerned:
            return
        for event in events:
            key = event.record.key
            at = key.find("/")
            while at >= 0:
                prefix = key[: at + 1]
                for watch in tuple(by_prefix.get(prefix, ())):
                    watch.push(event)
                if concerned and prefix in concerned:
                    for group in tuple(concerned[prefix].values()):
                        group.push(event)
                at = key.find("/", at + 1)
            for watch in tuple(by_prefix.get(key, ())):
                watch.push(event)

    def end_all(self, reason: BaseException) -> None:
        for watch in self._all():
            watch.end(reason)

    def end_behind(self, revision: int) -> None:
        """End those who have not taken what is compacted at ``revision``: what is forgotten is nobody's to keep."""
        for watch in self._all():
            watch.end_behind(revision)

    def _all(self) -> list[PrefixWatch]:
        every = list(self._by_prefix.values())
        every += [
            watching for groups in self._concerned.values() for g in groups.values() for watching in g.by_value.values()
        ]
        return [watch for watching in every for watch in watching]
