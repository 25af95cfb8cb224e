"""CPU as a rate: between two looks at the counters, taken only when somebody asks.

A look is compared with the youngest one that is at least ``WINDOW_SECONDS`` old, else with the oldest there is; who asks
for the first time in a minute waits ``FIRST_SECONDS`` for a second look. What was started since the other look counts from
its start. Nothing is read while nobody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sampan.node.stats import Key, Rate, Rates, Snapshot

FRESH_SECONDS = 1.0
WINDOW_SECONDS = 5.0
OLD_SECONDS = 60.0
FIRST_SECONDS = 1.0


class Point(NamedTuple):
    """The counters at a moment: ``at`` is the clock's, the others are ``(nanoseconds since 1970, CPU nanoseconds)``."""

    at: float
    counters: dict[Key, tuple[int, int]]


class Measured(NamedTuple):
    snapshot: Snapshot
    rates: Rates


class Sampler:
    """Looks when it is asked; those who ask at the same time share a look."""

    def __init__(self, read: Callable[[], Awaitable[Snapshot]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._points: list[Point] = []
        self._last: Measured | None = None
        self._looking: asyncio.Task[Measured] | None = None

    async def measure(self) -> Measured:
        """Return what is used now. Raises what reading raises."""
        if self._last is not None and self._clock() - self._points[-1].at < FRESH_SECONDS:
            return self._last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="stats")
        return await asyncio.shield(self._looking)

    async def _look(self) -> Measured:
        if self.base(self._clock()) is None:
            self._points = [point_of(await self._read(), self._clock())]
            await asyncio.sleep(FIRST_SECONDS)
        snapshot = await self._read()
        point = point_of(snapshot, self._clock())
        base = self.base(point.at)
        self._points = [old for old in self._points if point.at - old.at < OLD_SECONDS] + [point]
        self._last = Measured(snapshot, rates(snapshot, point, base or point))
        return self._last

    def base(self, now: float) -> Point | None:
        """Return the look to compare one of now with."""
        young = [point for point in self._points if now - point.at < OLD_SECONDS]
        enough = [point for point in young if now - point.at >= WINDOW_SECONDS]
        return enough[-1] if enough else young[0] if young else None


def point_of(snapshot: Snapshot, at: float) -> Point:
    counters: dict[Key, tuple[int, int]] = {}
    if snapshot.usage.cpu_nanoseconds is not None:
        counters[()] = (snapshot.usage.at, snapshot.usage.cpu_nanoseconds)
    for pod in snapshot.pods:
        if pod.usage.cpu_nanoseconds is not None:
            counters[(pod.uid,)] = (pod.usage.at, pod.usage.cpu_nanoseconds)
        for container in pod.containers:
            if container.usage.cpu_nanoseconds is not None:
                counters[pod.uid, container.id] = (container.usage.at, container.usage.cpu_nanoseconds)
    return Point(at, counters)


def rates(snapshot: Snapshot, new: Point, old: Point) -> dict[Key, Rate]:
    """Return the rates between two looks; there is none for what has not been there for a moment yet."""
    starts: dict[Key, int] = {}
    for pod in snapshot.pods:
        for container in pod.containers:
            starts[pod.uid, container.id] = container.started
            starts[(pod.uid,)] = min(starts.get((pod.uid,), container.started), container.started)
    found: dict[Key, Rate] = {}
    for key, (at, used) in new.counters.items():
        since, before = old.counters.get(key, (0, 0))
        if key not in old.counters or used < before:  # new since then, or its counter began anew
            since, before = starts.get(key, 0), 0
        if since and at > since:
            found[key] = Rate((used - before) * 1_000_000_000 // (at - since), at - since)
    return found
