"""Which pods have to go when the node runs short: thresholds, signals, order, and the words of it. Pure.

Source: the node-pressure eviction page of Kubernetes; core/v1 ResourceRequirements for limits of local storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sampan.node.kubelet_config import KubeletConfig
from sampan.node.resources import NODE_CRITICAL_PRIORITY, asked_by, containers_of, milli, qos_class
from sampan.schema.objects import Object
from sampan.schema.quantity import NANO, Quantity, parse

CONDITIONS = {
    "memory.available": "MemoryPressure",
    "nodefs.available": "DiskPressure",
    "nodefs.inodesFree": "DiskPressure",
    "imagefs.available": "DiskPressure",
    "imagefs.inodesFree": "DiskPressure",
    "pid.available": "PIDPressure",
}
RESOURCES = {
    "memory.available": "memory",
    "nodefs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.available": "ephemeral-storage",
    "imagefs.inodesFree": "inodes",
    "pid.available": "pids",
}
MIRROR = "kubernetes.io/config.mirror"
STATIC_SOURCE = "kubernetes.io/config.source"
CRITICAL_PRIORITY = 2_000_000_000


class Level(NamedTuple):
    """What there is of a signal's resource, and what is left of it: bytes or counts."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class Threshold:
    signal: str
    amount: str
    """A quantity or a percentage."""
    grace_seconds: float = 0.0
    hard: bool = True
    reclaim: str = "0"
    """How much more than the threshold is to be free before it no longer counts."""

    def bytes_of(self, amount: str, capacity: int) -> int:
        if amount.endswith("%"):
            return int(capacity * float(amount[:-1]) / 100)
        return parse(amount).value()

    def is_crossed(self, level: Level, *, met_before: bool) -> bool:
        wanted = self.bytes_of(self.amount, level.capacity)
        if met_before:
            wanted += self.bytes_of(self.reclaim, level.capacity)
        return level.available < wanted


def thresholds_of(config: KubeletConfig) -> list[Threshold]:
    """Return the node's thresholds, hard ones first."""
    reclaim = config.eviction_minimum_reclaim
    hard = [Threshold(s, amount, reclaim=reclaim.get(s, "0")) for s, amount in config.eviction_hard.items()]
    soft = [
        Threshold(s, amount, config.eviction_soft_grace_period[s], hard=False, reclaim=reclaim.get(s, "0"))
        for s, amount in config.eviction_soft.items()
    ]
    return [*hard, *soft]


@dataclass(slots=True)
class Pressure:
    """What was crossed since when, and which conditions hold. Times are of a steady clock."""

    since: dict[Threshold, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    """Condition → when it was last seen."""

    def look(
        self, thresholds: Iterable[Threshold], levels: Mapping[str, Level], now: float, transition_seconds: float
    ) -> list[Threshold]:
        """Take over what is measured; return the thresholds that have been crossed for long enough to act, in order."""
        due = []
        for threshold in thresholds:
            level = levels.get(threshold.signal)
            if level is None or not level.capacity:
                continue
            if not threshold.is_crossed(level, met_before=threshold in self.since):
                self.since.pop(threshold, None)
                continue
            since = self.since.setdefault(threshold, now)
            self.last[CONDITIONS[threshold.signal]] = now
            if now - since >= threshold.grace_seconds:
                due.append(threshold)
        for condition in [c for c, seen in self.last.items() if now - seen > transition_seconds]:
            del self.last[condition]
        return sorted(due, key=lambda threshold: threshold.signal != "memory.available")

    @property
    def conditions(self) -> set[str]:
        return set(self.last)


@dataclass(slots=True)
class PodUse:
    """One pod and what it uses: bytes of memory and of local storage, processes."""

    pod: Object
    memory: int = 0
    storage: int = 0
    processes: int = 0
    containers: dict[str, int] = field(default_factory=dict)
    """Memory of its containers."""
    container_storage: dict[str, int] = field(default_factory=dict)
    volumes: dict[str, int] = field(default_factory=dict)
    """Bytes of its emptyDir volumes on disk."""

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    def use_of(self, resource: str) -> int:
        return {"memory": self.memory, "pids": self.processes}.get(resource, self.storage)


def is_critical(pod: Object) -> bool:
    """Whether a pod is never evicted: static ones, mirrors of such, and those of critical priority."""
    annotations = pod["metadata"].get("annotations") or {}
    if MIRROR in annotations or annotations.get(STATIC_SOURCE, "api") != "api":
        return True
    return bool((pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY)


def ranked(uses: Iterable[PodUse], resource: str) -> list[PodUse]:
    """Return the pods in the order in which they have to go: those that use more than they ask for, then the least important,
    then those that use most beyond what they ask for."""

    def order(use: PodUse) -> tuple[bool, int, int]:
        asked = asked_by(use.pod).get(resource, 0)
        beyond = use.use_of(resource) - asked
        return beyond <= 0, use.pod["spec"].get("priority") or 0, -beyond

    return sorted((use for use in uses if not is_critical(use.pod)), key=order)


def spoken(size: int) -> str:
    """Return bytes as Kubernetes writes them: ``64Mi``."""
    return str(Quantity(size * NANO, "BinarySI"))


def why(threshold: Threshold, level: Level, use: PodUse) -> str:
    """Return the message of an evicted pod."""
    resource = RESOURCES[threshold.signal]
    amount = spoken(threshold.bytes_of(threshold.amount, level.capacity))
    text = f"The node was low on resource: {resource}. Threshold quantity: {amount}, available: {spoken(level.available)}. "
    if resource not in ("memory", "ephemeral-storage"):
        return text
    used = use.containers if resource == "memory" else use.container_storage
    for container in use.pod["spec"]["containers"]:
        name = container["name"]
        asked = milli(container, "requests", resource)
        if used.get(name, 0) > asked:
            text += f"Container {name} was using {spoken(used[name])}, request is {spoken(asked)}, "
            text += f"has larger consumption of {resource}. "
    return text


def storage_problem(use: PodUse) -> str:
    """Return why a pod has to go for its own limits of local storage, or ``""``."""
    spec = use.pod["spec"]
    for volume in spec.get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and 0 < parse(str(limit)).value() < use.volumes.get(volume["name"], 0):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    whole = [milli(container, "limits", "ephemeral-storage") for container in containers_of(use.pod)]
    total = sum(whole)
    if whole and all(whole) and use.storage > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {spoken(total)}. "
    for container in spec["containers"]:
        most = milli(container, "limits", "ephemeral-storage")
        if most and use.container_storage.get(container["name"], 0) > most:
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{spoken(most)}". '
    return ""


def has_limits(pod: Object) -> bool:
    """Whether a pod's local storage is limited: then it must be measured."""
    volumes = pod["spec"].get("volumes") or ()
    return any((volume.get("emptyDir") or {}).get("sizeLimit") for volume in volumes) or any(
        milli(container, "limits", "ephemeral-storage") for container in pod["spec"]["containers"]
    )


def refused_under(pod: Object, conditions: Iterable[str]) -> str:
    """Return why a pod is not taken in while the node is short, or ``""``."""
    held = sorted(conditions)
    if not held or is_critical(pod) or (pod["spec"].get("priority") or 0) >= NODE_CRITICAL_PRIORITY:
        return ""
    if held == ["MemoryPressure"]:
        tolerates = any(
            toleration.get("key") in (None, "", "node.kubernetes.io/memory-pressure")
            and toleration.get("operator", "Equal") == "Exists"
            for toleration in pod["spec"].get("tolerations") or ()
        )
        if qos_class(pod) != "BestEffort" or tolerates:
            return ""
    return f"The node had condition: [{' '.join(held)}]. "
