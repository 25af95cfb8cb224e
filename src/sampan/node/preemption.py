"""Which pods make room for a critical one that has none. Pure.

Room is made at the least cost: of guaranteed pods as few as possible, then of burstable ones, then of those of best effort;
among them the pod that gives most of what lacks, and of equals the smaller one. Source: the kubelet's preemption for
critical pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sampan.node.eviction_plan import is_critical
from sampan.node.pod_admission import Missing
from sampan.node.resources import asked_by, qos_class
from sampan.schema.objects import Object

REASON, MESSAGE = "Preempting", "Preempted in order to admit critical pod"


class NoVictims(Exception):
    """All pods that may be ended together do not make enough room; the message is the kubelet's."""


def may_displace(pod: Object, other: Object) -> bool:
    if is_critical(pod) and not is_critical(other):
        return True
    ours, theirs = pod["spec"].get("priority"), other["spec"].get("priority")
    return ours is not None and theirs is not None and ours > theirs


def victims(pod: Object, others: Iterable[Object], missing: Sequence[Missing]) -> list[Object]:
    """Return the pods that have to end for a pod to fit. Raises ``NoVictims``."""
    lacking = {one.resource: one.lacking for one in missing}
    by_quality: dict[str, list[Object]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for other in others:
        if may_displace(pod, other):
            by_quality[qos_class(other)].append(other)
    effortless, burstable, guaranteed = by_quality.values()
    if left := without(lacking, [*effortless, *burstable, *guaranteed]):
        raise NoVictims(f"no set of running pods found to reclaim resources: {spoken(left)}")
    first = fewest(guaranteed, without(lacking, [*effortless, *burstable]))
    second = fewest(burstable, without(lacking, [*effortless, *first]))
    third = fewest(effortless, without(lacking, [*second, *first]))
    return [*third, *second, *first]


def given_by(pod: Object, resource: str) -> int:
    return 1 if resource == "pods" else asked_by(pod).get(resource, 0)


def without(lacking: Mapping[str, int], pods: Iterable[Object]) -> dict[str, int]:
    """Return what still lacks when pods have gone."""
    pods = list(pods)
    left = {name: amount - sum(given_by(pod, name) for pod in pods) for name, amount in lacking.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def fewest(pods: Sequence[Object], lacking: Mapping[str, int]) -> list[Object]:
    """Return few of the pods that together give what lacks; they are enough when all are."""
    left, there, chosen = dict(lacking), list(pods), list[Object]()
    while left and there:
        best = min(there, key=lambda pod: (distance(pod, left), given_by(pod, "memory"), given_by(pod, "cpu")))
        there.remove(best)
        chosen.append(best)
        left = without(left, [best])
    return chosen


def distance(pod: Object, lacking: Mapping[str, int]) -> float:
    """Return how far a pod is from giving all that lacks: each resource counts the same, whatever its unit."""
    return sum((max(amount - given_by(pod, name), 0) / amount) ** 2 for name, amount in lacking.items())


def spoken(lacking: Mapping[str, int]) -> str:
    return f"[{''.join(f'(res: {name}, q: {amount}), ' for name, amount in lacking.items())}]"
