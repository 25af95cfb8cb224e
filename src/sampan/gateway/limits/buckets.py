"""Token buckets, one for each name, by the time at which each would be full again (GCRA): one number a bucket."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_BUCKETS = 100_000
"""A client more takes the place of the one that was seen longest ago."""


class Buckets:
    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, name: str, interval_nanoseconds: int, burst: int) -> int:
        """Return how long a bucket of that name has no token, in nanoseconds; 0: it has one. Nothing is taken."""
        now = self._clock()
        full_at = max(self._full_at.get(name, 0), now)
        return max(0, full_at + interval_nanoseconds - now - burst * interval_nanoseconds)

    def take(self, name: str, interval_nanoseconds: int) -> None:
        """Take a token out of a bucket that gets one every ``interval_nanoseconds``."""
        now = self._clock()
        self._full_at[name] = max(self._full_at.pop(name, 0), now) + interval_nanoseconds
        while self._full_at and (
            len(self._full_at) > MOST_BUCKETS or next(iter(self._full_at.values())) <= now - interval_nanoseconds
        ):
            self._full_at.popitem(last=False)
