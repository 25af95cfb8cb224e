"""Whether a pod that was bound here may run here, and whether a pod that runs may have what it now asks for. Pure.

The scheduler has looked at the same facts, but not everyone asks it (``nodeName``, static pods), the node may have changed
since, and a resize of a running pod is decided by its node alone. Source: the kubelet's admission of pods, KEP-1287.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sampan.node.resources import asked_by
from sampan.scheduler.pod_info import HostPort, amount, host_ports
from sampan.schema.node_selectors import may_be_on
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates
from sampan.security.refusals import Refusal

IN_ORDER = ("cpu", "memory", "ephemeral-storage")
"""Which shortage is told first."""


class Missing(NamedTuple):
    """A resource that the node has too little of. Milli-CPU, bytes, or a count."""

    resource: str
    requested: int
    used: int
    capacity: int

    def __str__(self) -> str:
        asked = f"requested: {self.requested}, used: {self.used}, capacity: {self.capacity}"
        return f"Node didn't have enough resource: {self.resource}, {asked}"

    @property
    def lacking(self) -> int:
        return self.requested - (self.capacity - self.used)

    @property
    def refusal(self) -> Refusal:
        return Refusal(f"OutOf{self.resource}", str(self))


def missing_of(pod: Object, allocatable: Mapping[str, str], others: Sequence[Object]) -> list[Missing]:
    """Return every resource that the node has too little of for a pod beside the others. Extended resources that it does not
    tell of are somebody else's to judge (a scheduler extender, a driver)."""
    capacity = {name: amount(name, value) for name, value in allocatable.items()}
    used: dict[str, int] = {}
    for other in others:
        for name, value in asked_by(other).items():
            used[name] = used.get(name, 0) + value
    asked = asked_by(pod)
    found = []
    if len(others) + 1 > capacity.get("pods", 1 << 30):
        found.append(Missing("pods", 1, len(others), capacity["pods"]))
    for name in (*IN_ORDER, *(name for name in asked if name not in IN_ORDER)):
        value = asked.get(name, 0)
        if not value or ("/" in name and name not in capacity):
            continue
        if used.get(name, 0) + value > capacity.get(name, 0):
            found.append(Missing(name, value, used.get(name, 0), capacity.get(name, 0)))
    return found


def clashes(pod: Object, others: Iterable[Object]) -> Refusal | None:
    """Return why a pod cannot have its ports of the node."""
    taken: set[HostPort] = set().union(*(host_ports(other) for other in others))
    if any(wanted.clashes(port) for wanted in host_ports(pod) for port in taken):
        return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def predicate(name: str, why: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {why}")


def wrong_system(pod: Object) -> Refusal | None:
    """Return why this machine's operating system is none for a pod."""
    if (pod["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux") != "linux":
        message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Refusal("PodOSSelectorNodeLabelDoesNotMatch", message)
    if (pod["spec"].get("os") or {}).get("name", "linux") != "linux":
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def elsewhere(pod: Object, node: Object) -> Refusal | None:
    """Return why a pod does not belong on a node: its selector and required affinity."""
    metadata = node["metadata"]
    if may_be_on(pod["spec"], metadata["name"], metadata.get("labels") or {}):
        return None
    return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def untolerated(pod: Object, node: Object) -> Refusal | None:
    """Return which NoExecute taints of a node keep a pod out; others are the scheduler's to heed."""
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint["effect"] == "NoExecute" and not any(tolerates(one, taint) for one in tolerations):
            return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def resize_refusal(pod: Object, allocatable: Mapping[str, str], others: Sequence[Object]) -> Refusal | None:
    """Return why a running pod cannot have what it asks for: never on this node (Infeasible), or not now (Deferred)."""
    asked = asked_by(pod)
    for name in ("cpu", "memory"):
        capacity = amount(name, allocatable.get(name, "0"))
        if asked.get(name, 0) > capacity:
            text = f"Node didn't have enough capacity: {name}, requested: {asked[name]}, capacity: {capacity}"
            return Refusal("Infeasible", text)
    missing = missing_of(pod, allocatable, others)
    return Refusal("Deferred", str(missing[0])) if missing else None
