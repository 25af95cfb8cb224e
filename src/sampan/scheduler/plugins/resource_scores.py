"""How much of a node's resources a pod leaves, as points: the strategies of NodeResourcesFit, and the balance of resources.

Pure functions of what is asked, used and there. Source: pkg/scheduler/framework/plugins/noderesources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sampan.scheduler.framework import HIGHEST_SCORE

Shape = Sequence[tuple[int, int]]
"""Points of ``(utilization, score)``, by rising utilization; between two of them it is a straight line."""


class Weighted(NamedTuple):
    """A resource that counts, and how much."""

    resource: str
    weight: int


def least_allocated(used: int, capacity: int) -> int:
    """More for more that is left over."""
    return 0 if used > capacity else (capacity - used) * HIGHEST_SCORE // capacity


def most_allocated(used: int, capacity: int) -> int:
    """More for less that is left over."""
    return min(used, capacity) * HIGHEST_SCORE // capacity


def by_shape(shape: Shape) -> Callable[[int, int], int]:
    """Return the points by a line of utilization in percent (RequestedToCapacityRatio)."""

    def points(used: int, capacity: int) -> int:
        utilization = 100 if used > capacity else used * 100 // capacity
        before = shape[0]
        for point in shape:
            if utilization <= point[0]:
                if point[0] == before[0]:
                    return point[1]
                rise = (point[1] - before[1]) * (utilization - before[0])
                return before[1] + towards_zero(rise, point[0] - before[0])
            before = point
        return shape[-1][1]

    return points


def shape_of(points: Sequence[Mapping[str, int]]) -> Shape:
    """Return a ``shape`` of a configuration, whose scores are written as 0 to 10."""
    return sorted((point.get("utilization", 0), point.get("score", 0) * 10) for point in points)


def of_storage(points: Callable[[int, int], int], used: Mapping[str, tuple[int, int]]) -> int:
    """Return the mean points of StorageClasses: class → ``(used, capacity)``, in bytes."""
    each = [points(wanted, capacity) if capacity else points(1, 0) for wanted, capacity in used.values()]
    return rounded(sum(each) / len(each)) if each else 0


def mean(scores: Sequence[tuple[int, int]], *, only_positive: bool = False) -> int:
    """Return the mean of ``(score, weight)``; ``only_positive``: what scores nothing does not count, and it is rounded."""
    counted = [(score, weight) for score, weight in scores if score > 0 or not only_positive]
    weights = sum(weight for _, weight in counted)
    if not weights:
        return 0
    total = sum(score * weight for score, weight in counted)
    return rounded(total / weights) if only_positive else total // weights


def towards_zero(number: int, divisor: int) -> int:
    """Return the quotient as Go has it; Python's goes down where a line falls."""
    return number // divisor if number >= 0 else -(-number // divisor)


def rounded(number: float) -> int:
    """Return the nearest whole number, halves away from zero (Python's ``round`` takes the even one)."""
    return math.floor(number + 0.5) if number >= 0 else math.ceil(number - 0.5)


def balance(fractions: Sequence[float]) -> int:
    """Return more for resources that are used to the same degree: the less their shares deviate."""
    if len(fractions) < 2:
        return HIGHEST_SCORE
    if len(fractions) == 2:
        deviation = abs(fractions[0] - fractions[1]) / 2
    else:
        middle = sum(fractions) / len(fractions)
        deviation = (sum((one - middle) ** 2 for one in fractions) / len(fractions)) ** 0.5
    return int((1 - deviation) * HIGHEST_SCORE)


def shares(resources: Sequence[Weighted], wanted: Mapping[str, int], used: Mapping[str, int],
           capacity: Mapping[str, int]) -> list[tuple[int, int, int]]:  # fmt: skip
    """Return ``(used with the pod, capacity, weight)`` of each resource that counts."""
    return [
        (used.get(name, 0) + wanted.get(name, 0), there, weight)
        for name, weight in resources
        if (there := capacity.get(name, 0)) and (wanted.get(name) or name in ORDINARY)
    ]


def counted(resources: Sequence[Weighted], wanted: Mapping[str, int], capacity: Mapping[str, int]) -> list[str]:
    """Return the resources that count: those that the node has; a device that the pod does not ask for says nothing about
    where it should go."""
    return [name for name, _ in resources if capacity.get(name, 0) and (wanted.get(name) or name in ORDINARY)]


ORDINARY = ("cpu", "memory", "ephemeral-storage")
