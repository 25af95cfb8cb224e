"""A histogram that is being filled."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from sampan.api.metrics.exposition import Histogram

SECONDS = tuple(0.00025 * 2**n for n in range(16))


class Observed:
    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def shown(self, labels: dict[str, str]) -> Histogram:
        return Histogram(labels, self.bounds, self.counts, self.total)
