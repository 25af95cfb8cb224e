"""A queue of keys: each key once, never handled by two workers at a time, delayed and backed off by one timer.

A key added while it is being handled is handled again afterwards. Delays sit in a heap; the loop's timer is set for the
earliest of them only. Source: the contract of client-go's rate-limited work queue.
"""

from __future__ import annotations

import asyncio
import heapq
import weakref
from bisect import bisect_left
from collections import deque
from time import perf_counter

FIRST_BACKOFF_SECONDS = 0.005
LONGEST_BACKOFF_SECONDS = 60.0


DURATIONS = (1e-08, 1e-07, 1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""The buckets of client-go's work queue metrics, in seconds."""


class Durations:
    """How long something took, each time."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATIONS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(DURATIONS, seconds)] += 1
        self.total += seconds


QUEUES: weakref.WeakSet[WorkQueue] = weakref.WeakSet()
"""Every queue of this process, for its metrics."""


class WorkQueue:
    """Keys waiting to be handled. Used from one event loop. One with a ``name`` is told of in metrics."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.adds = 0
        self.retries = 0
        self.queue_seconds, self.work_seconds = Durations(), Durations()
        self.begun: dict[str, float] = {}
        """When the keys that are handled now were taken."""
        self._added: dict[str, float] = {}
        QUEUES.add(self)
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._handled: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._delayed: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """Have the key handled as soon as a worker is free."""
        if key in self._handled:
            self.adds += key not in self._again
            self._again.add(key)
        elif key not in self._waiting:
            self.adds += 1
            self._waiting.add(key)
            self._ready.append(key)
            self._added[key] = perf_counter()
            self._wake()

    def add_after(self, key: str, seconds: float) -> None:
        """Have the key handled after a delay; the earliest of several delays counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, key))
        self._set_timer()

    def hurry(self) -> None:
        """Have all keys that wait for a time handled now: the time of day by which it was reckoned has changed."""
        due, self._due = self._due, {}
        self._delayed.clear()
        self._set_timer()
        for key in due:
            self.add(key)

    def retry(self, key: str) -> float:
        """Have a failed key handled again after its back-off; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        seconds = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 30), LONGEST_BACKOFF_SECONDS)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: str) -> None:
        """Begin the key's back-off anew: it succeeded."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """Return the next key; ``done`` must follow."""
        while not self._ready:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            finally:
                if getter in self._getters:
                    self._getters.remove(getter)
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._handled.add(key)
        now = self.begun[key] = perf_counter()
        self.queue_seconds.add(now - self._added.pop(key, now))
        return key

    def done(self, key: str) -> None:
        """Say that the key has been handled, well or not."""
        self._handled.discard(key)
        self.work_seconds.add(perf_counter() - self.begun.pop(key, perf_counter()))
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._delayed:
            self._timer = asyncio.get_running_loop().call_at(self._delayed[0][0], self._release)

    def _release(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._delayed and self._delayed[0][0] <= now + 1e-4:
            due, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_timer()
