"""Whether a pod that was bound here may run here, and whether a pod that runs may have what it now asks for. Pure.

The scheduler has looked at the same numbers, but not everyone asks it (``nodeName``, static pods), and a resize of a running
pod is decided by its node alone. Source: the kubelet's admission of pods, KEP-1287.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sampan.node.resources import asked_by
from sampan.scheduler.pod_info import HostPort, amount, host_ports
from sampan.schema.objects import Object
from sampan.security.refusals import Refusal


def no_room(pod: Object, allocatable: Mapping[str, str], others: Iterable[Object]) -> Refusal | None:
    """Return why a pod cannot run on this node beside the others, or None."""
    others = list(others)
    if missing := does_not_fit(pod, allocatable, others):
        return Refusal(f"OutOf{missing.resource}", str(missing))
    taken: set[HostPort] = set().union(*(host_ports(other) for other in others))
    if any(wanted.clashes(port) for wanted in host_ports(pod) for port in taken):
        return Refusal("NodePorts", "Predicate NodePorts failed")
    return None


class Missing(NamedTuple):
    resource: str
    requested: int
    used: int
    capacity: int

    def __str__(self) -> str:
        asked = f"requested: {self.requested}, used: {self.used}, capacity: {self.capacity}"
        return f"Node didn't have enough resource: {self.resource}, {asked}"


def does_not_fit(pod: Object, allocatable: Mapping[str, str], others: Sequence[Object]) -> Missing | None:
    """Return the first resource that the node has too little of. Extended resources that it does not tell of are somebody
    else's to judge (a plugin that is not back yet, a scheduler extender)."""
    capacity = {name: amount(name, value) for name, value in allocatable.items()}
    used: dict[str, int] = {}
    for other in others:
        for name, value in asked_by(other).items():
            used[name] = used.get(name, 0) + value
    if len(others) + 1 > capacity.get("pods", 1 << 30):
        return Missing("pods", 1, len(others), capacity["pods"])
    for name, value in asked_by(pod).items():
        if "/" in name and name not in capacity:
            continue
        if value and used.get(name, 0) + value > capacity.get(name, 0):
            return Missing(name, value, used.get(name, 0), capacity.get(name, 0))
    return None


def resize_refusal(pod: Object, allocatable: Mapping[str, str], others: Sequence[Object]) -> Refusal | None:
    """Return why a running pod cannot have what it asks for: never on this node (Infeasible), or not now (Deferred)."""
    asked = asked_by(pod)
    for name in ("cpu", "memory"):
        capacity = amount(name, allocatable.get(name, "0"))
        if asked.get(name, 0) > capacity:
            text = f"Node didn't have enough capacity: {name}, requested: {asked[name]}, capacity: {capacity}"
            return Refusal("Infeasible", text)
    missing = does_not_fit(pod, allocatable, others)
    return Refusal("Deferred", str(missing)) if missing is not None else None
