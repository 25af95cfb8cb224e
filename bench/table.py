"""A measured row, and how rows are printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of ours beside the peer's. ``ratio`` is ours / peer where both exist; ``aim`` is what we promised."""

    work: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    aim: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None


def show(rows: Iterable[Row]) -> None:
    print(f"{'work':48} {'sampan':>12} {'peer':>12} {'ratio':>7}  {'aim':20} peer is")
    for row in rows:
        peer = f"{row.peer:,.2f}" if row.peer is not None else "-"
        ratio = f"{row.ratio:.2f}x" if row.ratio is not None else "-"
        ours = f"{row.ours:,.2f}"
        print(
            f"{row.work + ' (' + row.unit + ')':48} {ours:>12} {peer:>12} {ratio:>7}  {row.aim:20} {row.peer_name}",
            flush=True,
        )


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """Return the median of several runs of a measurement."""
    return statistics.median(measure() for _ in range(runs))


def medians_of(runs: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of each of several measurements, made in turn: what else the machine does falls on all of them."""
    return [statistics.median(taken) for taken in zip(*([one() for one in measures] for _ in range(runs)), strict=True)]
