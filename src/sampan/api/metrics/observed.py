"""A histogram that is being filled, for parts that keep their own. Source: prometheus.io, "Histograms"."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from sampan.api.metrics.exposition import Histogram


class Observed:
    """A histogram that is being filled, by its labels."""

    def __init__(self, bounds: Sequence[float], *labels: str) -> None:
        self.bounds, self.labels = bounds, labels
        self._found: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        counts, total = self._found.setdefault(labels, ([0] * (len(self.bounds) + 1), [0.0]))
        counts[bisect_left(self.bounds, value)] += 1
        total[0] += value

    def histograms(self) -> Iterator[Histogram]:
        for labels, (counts, total) in self._found.items():
            yield Histogram(dict(zip(self.labels, labels, strict=True)), self.bounds, counts, total[0])

    def counts(self) -> Iterator[tuple[tuple[str, ...], int]]:
        for labels, (counts, _) in self._found.items():
            yield labels, sum(counts)
