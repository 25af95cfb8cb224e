"""Prometheus' text format. Source: prometheus.io, "Exposition formats"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """One metric with all its samples."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``; a histogram's samples come from ``histogram``."""
    help: str
    samples: Iterable[Sample]


class Histogram(NamedTuple):
    """Observations by bucket: ``counts`` has one more than ``bounds`` (what is larger than all)."""

    labels: Mapping[str, str]
    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class HistogramFamily(NamedTuple):
    name: str
    help: str
    histograms: Iterable[Histogram]


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def labelled(name: str, labels: Mapping[str, str], more: str = "") -> str:
    inner = ",".join([*(f'{key}="{escaped(value)}"' for key, value in labels.items()), *([more] if more else ())])
    return f"{name}{{{inner}}}" if inner else name


def lines(families: Iterable[Family | HistogramFamily]) -> Iterator[str]:
    """Yield the lines; a family without samples is left out."""
    for family in families:
        written = list(_samples(family) if isinstance(family, Family) else _histograms(family))
        if written:
            kind = family.kind if isinstance(family, Family) else "histogram"
            yield f"# HELP {family.name} {family.help}"
            yield f"# TYPE {family.name} {kind}"
            yield from written


def _samples(family: Family) -> Iterator[str]:
    for labels, value in family.samples:
        yield f"{labelled(family.name, labels)} {number(value)}"


def _histograms(family: HistogramFamily) -> Iterator[str]:
    for labels, bounds, counts, total in family.histograms:
        seen = 0
        for bound, count in zip(bounds, counts, strict=False):
            seen += count
            le = f'le="{number(bound)}"'
            yield f"{labelled(f'{family.name}_bucket', labels, le)} {seen}"
        seen += counts[-1]
        infinite = 'le="+Inf"'
        yield f"{labelled(f'{family.name}_bucket', labels, infinite)} {seen}"
        yield f"{labelled(f'{family.name}_sum', labels)} {number(total)}"
        yield f"{labelled(f'{family.name}_count', labels)} {seen}"
