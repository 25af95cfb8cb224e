"""What a node's conditions mean for its pods: taints, and how long a pod bears them. Pure.

Sources: KEP-589 (heartbeats), "Taint nodes by condition", core/v1 Toleration.
"""

from __future__ import annotations

from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE, UNSCHEDULABLE = f"{PREFIX}not-ready", f"{PREFIX}unreachable", f"{PREFIX}unschedulable"
BY_CONDITION = {
    "MemoryPressure": f"{PREFIX}memory-pressure",
    "DiskPressure": f"{PREFIX}disk-pressure",
    "PIDPressure": f"{PREFIX}pid-pressure",
    "NetworkUnavailable": f"{PREFIX}network-unavailable",
}
"""The taint that keeps pods away while a condition is true."""
OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *BY_CONDITION.values()})
SILENCED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
"""What nobody knows of a node that is silent."""
BY_NODE = "node"


def node_of(pod: Object) -> list[str]:
    """Index function: the node a pod is bound to."""
    name = pod["spec"].get("nodeName")
    return [name] if name else []


def ready_state(node: Object) -> str:
    """Return ``True``, ``False`` or ``Unknown``; a node that has said nothing yet is not ready."""
    ready = condition_of(node, "Ready")
    return str(ready["status"]) if ready else "False"


def is_ready(node: Object) -> bool:
    return ready_state(node) == "True"


def silenced(node: Object, now: str) -> list[Object]:
    """Return the conditions of a node that is not heard any more; its last heartbeats stay."""
    conditions = list(node.get("status", {}).get("conditions") or ())
    for type in SILENCED:
        known = condition_of(node, type)
        if known is None:
            told = {"reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status."}
            told["lastHeartbeatTime"] = node["metadata"].get("creationTimestamp", now)
        elif known["status"] == "Unknown":
            continue
        else:
            told = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
        kept = {key: value for key, value in (known or {"type": type}).items() if key != "lastTransitionTime"}
        conditions = with_condition(conditions, {**kept, **told, "status": "Unknown"}, now)
    return conditions


def wanted_taints(node: Object, now: str, *, evicts: bool = True) -> list[Object]:
    """Return the taints a node should have: its own, and those of its conditions. ``evicts``: whether one that is not ready
    may lose its pods (NoExecute)."""
    spec = node.get("spec") or {}
    have = {(t["key"], t["effect"]): t for t in spec.get("taints") or ()}
    kept = [t for t in spec.get("taints") or () if t["key"] not in OURS]
    state = ready_state(node)
    wanted: list[tuple[str, str]] = []
    if spec.get("unschedulable"):
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    for type, key in BY_CONDITION.items():
        if (condition_of(node, type) or {}).get("status") == "True":
            wanted.append((key, "NoSchedule"))
    if state != "True":
        key = UNREACHABLE if state == "Unknown" else NOT_READY
        wanted.append((key, "NoSchedule"))
        if evicts:
            wanted.append((key, "NoExecute"))
    for key, effect in wanted:
        fresh = {"key": key, "effect": effect, **({"timeAdded": now} if effect == "NoExecute" else {})}
        kept.append(have.get((key, effect), fresh))
    return kept


def is_being_evicted(node: Object) -> bool:
    """Whether a node has a NoExecute taint of ours."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(t["key"] in (NOT_READY, UNREACHABLE) and t["effect"] == "NoExecute" for t in taints)


def has_no_execute(node: Object) -> bool:
    return any(t["effect"] == "NoExecute" for t in (node.get("spec") or {}).get("taints") or ())


def toleration_left(pod: Object, taints: list[Object], seen_seconds: float = 0.0) -> float | None:
    """Return the seconds a pod may stay on a node with NoExecute taints; None: for ever. ``seen_seconds``: for how long we
    have known of the pod and its node's taints, which counts for taints that do not say when they were added. Of several
    tolerations of a taint the first counts."""
    left: float | None = None
    for taint in taints:
        if taint["effect"] != "NoExecute":
            continue
        first = next((t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)), None)
        if first is None:
            return 0.0
        if (limit := first.get("tolerationSeconds")) is not None:
            remaining = limit - borne_seconds(pod, taint, seen_seconds)
            left = remaining if left is None else min(left, remaining)
    return left


def borne_seconds(pod: Object, taint: Object, seen_seconds: float) -> float:
    """Return for how long a pod has borne a taint: not longer than either is there."""
    if not taint.get("timeAdded"):
        return seen_seconds
    created = pod.get("metadata", {}).get("creationTimestamp")
    since = seconds_since(taint["timeAdded"])
    return min(since, seconds_since(created)) if created else since
