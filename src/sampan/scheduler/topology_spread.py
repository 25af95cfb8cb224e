"""Plugin PodTopologySpread: pods of a group spread evenly over the domains of a topology.

As a filter it refuses nodes that would make ``DoNotSchedule`` constraints too uneven, as a score it prefers domains with
fewer pods for ``ScheduleAnyway``. Source: KEP-895, core/v1 TopologySpreadConstraint.
"""

from __future__ import annotations

from sampan.scheduler.filters import node_affinity, taint_toleration
from sampan.scheduler.node_state import NodeState
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

UNEVEN = "node(s) didn't match pod topology spread constraints"


def topology_spread(pod: Object, node: NodeState) -> str | None:
    for constraint in constraints(pod, "DoNotSchedule"):
        key = constraint["topologyKey"]
        if key not in node.labels:
            return f"{UNEVEN} (missing required label)"
        counts = domains(pod, constraint, node)
        fewest = min(counts.values(), default=0)
        if len(counts) < (constraint.get("minDomains") or 1):
            fewest = 0
        itself = selector_of(constraint, pod).matches(pod["metadata"].get("labels"))
        if counts.get(node.labels[key], 0) + itself - fewest > constraint["maxSkew"]:
            return UNEVEN
    return None


def even_spread(pod: Object, node: NodeState) -> float:
    """More for domains with fewer pods of the group."""
    points = []
    for constraint in constraints(pod, "ScheduleAnyway"):
        counts = domains(pod, constraint, node)
        here = counts.get(node.labels.get(constraint["topologyKey"], ""))
        points.append(0.0 if here is None else 100 / (1 + here - min(counts.values())))
    return sum(points) / len(points) if points else 0.0


def constraints(pod: Object, unsatisfiable: str) -> list[Object]:
    found = pod["spec"].get("topologySpreadConstraints") or ()
    return [c for c in found if c.get("whenUnsatisfiable", "DoNotSchedule") == unsatisfiable]


def selector_of(constraint: Object, pod: Object) -> LabelSelector:
    """Return the constraint's selector, narrowed to the pod's own values of ``matchLabelKeys``."""
    selector = dict(constraint.get("labelSelector") or {})
    labels = pod["metadata"].get("labels") or {}
    own = {key: labels[key] for key in constraint.get("matchLabelKeys") or () if key in labels}
    if own:
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **own}
    return label_selector(selector) if selector or constraint.get("labelSelector") is not None else label_selector(None)


def is_spread(constraint: Object, pod: Object, other: Object) -> bool:
    """Whether another pod is of the group that a pod's constraint spreads."""
    metadata = other["metadata"]
    same_namespace = metadata["namespace"] == pod["metadata"]["namespace"]
    return same_namespace and selector_of(constraint, pod).matches(metadata.get("labels"))


def counted(constraint: Object, pod: Object, node: NodeState) -> bool:
    """Whether a node is among the domains: unless the constraint says else, if the node affinity allows it (KEP-3094)."""
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and node_affinity(pod, node) is not None:
        return False
    return constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore" or taint_toleration(pod, node) is None


def domains(pod: Object, constraint: Object, node: NodeState) -> dict[str, int]:
    """Return how many pods of the group each domain has, of the nodes that count (``counted``)."""
    key, selector, namespace = constraint["topologyKey"], selector_of(constraint, pod), pod["metadata"]["namespace"]
    counts: dict[str, int] = {}
    for peer in node.cluster.values():
        if key not in peer.labels or not counted(constraint, pod, peer):
            continue
        here = sum(
            1
            for other in peer.pods
            if other["metadata"]["namespace"] == namespace and selector.matches(other["metadata"].get("labels"))
        )
        counts[peer.labels[key]] = counts.get(peer.labels[key], 0) + here
    return counts
