"""The plugins in use: two lists. To add one, write its function and name it here.

A filter is ``(pod, node) -> reason, reasons or None``, a score ``(pod, node) -> 0..100`` with a weight; both are pure.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.scheduler import filters, scores, topology_spread
from sampan.scheduler.inter_pod_affinity import inter_pod_affinity
from sampan.scheduler.node_state import NodeState
from sampan.schema.objects import Object

Filter = Callable[[Object, NodeState], str | list[str] | None]
Score = Callable[[Object, NodeState], float]

FILTERS: tuple[Filter, ...] = (
    filters.node_name,
    filters.node_unschedulable,
    filters.taint_toleration,
    filters.node_affinity,
    filters.node_ports,
    filters.node_resources_fit,
    topology_spread.topology_spread,
    inter_pod_affinity,
)
SCORES: tuple[tuple[Score, float], ...] = (
    (scores.least_allocated, 1),
    (scores.fewest_pods, 2),
    (scores.image_locality, 1),
    (scores.preferred_affinity, 2),
    (scores.prefer_no_schedule, 3),
    (topology_spread.even_spread, 2),
)


ENOUGH_NODES = 100
"""Nodes that fit and are compared: among thousands the best of a hundred is good enough, and found in time
(kube-scheduler's percentageOfNodesToScore has the same least number)."""


def choose(pod: Object, nodes: list[NodeState]) -> tuple[NodeState | None, dict[str, int]]:
    """Return the best of the first nodes that fit, or None with how many nodes each reason ruled out."""
    reasons: dict[str, int] = {}
    fitting = []
    for node in nodes:
        why = next((why for check in FILTERS if (why := check(pod, node))), None)
        if not why:
            fitting.append(node)
            if len(fitting) == ENOUGH_NODES:
                break
        for reason in [why] if isinstance(why, str) else why or ():
            reasons[reason] = reasons.get(reason, 0) + 1
    if not fitting:
        return None, reasons
    if len(fitting) == 1:
        return fitting[0], {}
    return max(fitting, key=lambda node: sum(weight * score(pod, node) for score, weight in SCORES)), {}


def explain(total: int, reasons: dict[str, int]) -> str:
    """Return the message of FailedScheduling: ``0/3 nodes are available: 2 Insufficient cpu, 1 Too many pods.``"""
    if not total:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{total} nodes are available: {listed}."
