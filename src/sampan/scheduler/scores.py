"""Score plugins: each gives a node 0 to 100 points for a pod."""

from __future__ import annotations

from sampan.scheduler.filters import tolerated
from sampan.scheduler.node_state import NodeState, requests_of
from sampan.schema.node_selectors import term_matches
from sampan.schema.objects import Object


def least_allocated(pod: Object, node: NodeState) -> float:
    """More for nodes with more left over (NodeResourcesFit, LeastAllocated)."""
    wanted = requests_of(pod)
    shares = []
    for resource in ("cpu", "memory"):
        capacity = node.allocatable(resource)
        if capacity:
            used = node.used.get(resource, 0) + wanted.get(resource, 0)
            shares.append(max(capacity - used, 0) * 100 / capacity)
    return sum(shares) / len(shares) if shares else 0.0


def fewest_pods(pod: Object, node: NodeState) -> float:
    """More for nodes with fewer pods of the same controller: replicas spread (the default topology spread)."""
    same = sum(node.owners.get(owner["uid"], 0) for owner in pod["metadata"].get("ownerReferences") or ())
    return 100 / (1 + same)


def image_locality(pod: Object, node: NodeState) -> float:
    """More for nodes that have the images already."""
    names = {name for image in node.node.get("status", {}).get("images") or () for name in image.get("names") or ()}
    wanted = [container["image"] for container in pod["spec"].get("containers") or ()]
    return 100 * sum(1 for image in wanted if image in names) / len(wanted) if wanted else 0.0


def preferred_affinity(pod: Object, node: NodeState) -> float:
    """More for nodes that preferred node affinity terms choose, by their weights."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    total = sum(term["weight"] for term in terms)
    hit = sum(term["weight"] for term in terms if term_matches(term["preference"], node.name, node.labels))
    return 100 * hit / total if total else 0.0


def prefer_no_schedule(pod: Object, node: NodeState) -> float:
    """Fewer for each PreferNoSchedule taint that is not tolerated."""
    taints = [t for t in node.spec.get("taints") or () if t["effect"] == "PreferNoSchedule"]
    return 100 / (1 + sum(1 for taint in taints if not tolerated(pod, taint)))
