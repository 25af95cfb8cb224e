"""Completion indexes of a Job: which pod has which, and the intervals that its status writes them in (``1,3-5``). Pure.

Source: KEP-2214 (Indexed Job), KEP-3850 (backoffLimitPerIndex), KEP-3715 (elastic Indexed Jobs).
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.schema.objects import Object

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def annotation(pod: Object, name: str) -> int | None:
    """Return the number of an annotation, None where there is none."""
    value = (pod["metadata"].get("annotations") or {}).get(name)
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def index_of(pod: Object) -> int | None:
    return annotation(pod, INDEX)


def failures_of(pod: Object) -> int:
    """Return how often its index had failed before this pod."""
    return annotation(pod, FAILURES) or 0


def parsed(intervals: str | None, completions: int) -> set[int]:
    """Return the indexes of intervals, without those that a Job has grown too small for."""
    found: set[int] = set()
    for part in (intervals or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return found


def intervals(indexes: Iterable[int]) -> str:
    """Return ``1,3-5`` for 1, 3, 4, 5. Two neighbours are no series: ``3,4``."""
    parts: list[list[int]] = []
    for number in sorted(indexes):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    between = {0: "", 1: ","}
    return ",".join(
        str(first) if first == last else f"{first}{between.get(last - first, '-')}{last}" for first, last in parts
    )


def pending(completions: int, taken: set[int], count: int) -> list[int]:
    """Return the first indexes that nobody has."""
    found: list[int] = []
    for index in range(completions):
        if len(found) >= count:
            break
        if index not in taken:
            found.append(index)
    return found
