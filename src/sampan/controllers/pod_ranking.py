"""Which pods of a workload go first when it has too many: those that are worth least. Pure.

Source: the documented order of scaling a ReplicaSet down, pkg/controller (ActivePodsWithRanks), KEP-2185 (ages on a
logarithmic scale, ties by chance: by uid), KEP-2255 (pod-deletion-cost).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import NamedTuple

from sampan.controllers.ownership import condition_of, is_pod_active, is_pod_ready
from sampan.schema.objects import Object

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
YOUNGEST = -1.0


class Worth(NamedTuple):
    """What is compared of two pods: first what is the same for many, then how long one has been ready and there."""

    first: tuple[bool, int, bool, int, int]
    """Assigned, phase, ready, cost, and the fewer of the same workload are on its node."""
    ready_seconds: float
    restarts: int
    age_seconds: float
    uid: str


def ranked(pods: Iterable[Object], on_node: Mapping[str, int] | None = None) -> list[Object]:
    """Return the pods, those first that go first. ``on_node``: how many pods of the workload each node has."""
    now = datetime.now(UTC)
    worths = [(worth(pod, now, on_node or {}), pod) for pod in pods]
    order = cmp_to_key(compared)
    return [pod for _, pod in sorted(worths, key=lambda pair: order(pair[0]))]


def worth(pod: Object, now: datetime, on_node: Mapping[str, int]) -> Worth:
    status, metadata = pod.get("status", {}), pod["metadata"]
    node, ready = pod["spec"].get("nodeName") or "", is_pod_ready(pod)
    try:
        cost = int((metadata.get("annotations") or {}).get(DELETION_COST, 0))
    except ValueError:
        cost = 0
    first = (bool(node), PHASES.get(status.get("phase", "Pending"), 0), ready, cost, -on_node.get(node, 0))
    since = (condition_of(pod, "Ready") or {}).get("lastTransitionTime") if ready else None
    restarts = max((one.get("restartCount", 0) for one in status.get("containerStatuses") or ()), default=0)
    created = metadata.get("creationTimestamp")
    return Worth(first, seconds(since, now), restarts, seconds(created, now), metadata.get("uid", ""))


def seconds(moment: str | None, now: datetime) -> float:
    """Return how long ago something was; what has no time is youngest."""
    if not moment:
        return YOUNGEST
    return max((now - datetime.fromisoformat(moment.replace("Z", "+00:00"))).total_seconds(), 0.0)


def compared(one: Worth, other: Worth) -> int:
    """Return what is negative when the first of two pods goes first."""
    if one.first != other.first:
        return -1 if one.first < other.first else 1
    if one.first[2] and one.ready_seconds != other.ready_seconds:
        return by_age(one.ready_seconds, other.ready_seconds) or by_chance(one, other)
    if one.restarts != other.restarts:
        return -1 if one.restarts > other.restarts else 1
    if one.age_seconds != other.age_seconds:
        return by_age(one.age_seconds, other.age_seconds) or by_chance(one, other)
    return by_chance(one, other)


def by_age(one: float, other: float) -> int:
    """Return -1 where the first is younger, 0 where both are about as old: within a power of two."""
    if YOUNGEST in (one, other):
        return -1 if one < other else 1
    powers = [int(math.log2(age)) if age >= 1 else -1 for age in (one, other)]
    return (powers[0] > powers[1]) - (powers[0] < powers[1])


def by_chance(one: Worth, other: Worth) -> int:
    return (one.uid > other.uid) - (one.uid < other.uid)


def counted_by_node(pods: Iterable[Object]) -> Counter[str]:
    """Return how many active pods each node has."""
    return Counter(pod["spec"].get("nodeName") or "" for pod in pods if is_pod_active(pod))
