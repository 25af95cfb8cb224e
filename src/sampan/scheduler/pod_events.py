"""What changed, in the words that plugins have an interest in: events of nodes and of pods on nodes."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.scheduler.framework import (
    ALLOCATABLE,
    CONDITIONS,
    NODE_ANNOTATIONS,
    NODE_LABELS,
    POD_LABELS,
    SCALED_DOWN,
    TAINTS,
)
from sampan.scheduler.pod_info import requests_of
from sampan.schema.objects import Object


def node_changes(old: Object, new: Object) -> Iterator[str]:
    """Yield what changed of a Node; heartbeats change nothing."""
    before, after = old.get("status") or {}, new.get("status") or {}
    if before.get("allocatable") != after.get("allocatable"):
        yield ALLOCATABLE
    if old["metadata"].get("labels") != new["metadata"].get("labels"):
        yield NODE_LABELS
    specs = [(node.get("spec") or {}) for node in (old, new)]
    if specs[0].get("taints") != specs[1].get("taints") or specs[0].get("unschedulable") != specs[1].get(
        "unschedulable"
    ):
        yield TAINTS
    if conditions(before) != conditions(after):
        yield CONDITIONS
    if old["metadata"].get("annotations") != new["metadata"].get("annotations"):
        yield NODE_ANNOTATIONS


def conditions(status: Object) -> dict[str, str]:
    return {one["type"]: one.get("status", "") for one in status.get("conditions") or ()}


def matters(old: Object, new: Object) -> bool:
    """Whether the state of the node has to be read anew."""
    return any(True for _ in node_changes(old, new)) or images(old) != images(new)


def images(node: Object) -> object:
    return (node.get("status") or {}).get("images")


def pod_changes(old: Object, new: Object) -> Iterator[str]:
    """Yield what changed of a pod on a node that others may have waited for."""
    if old["metadata"].get("labels") != new["metadata"].get("labels"):
        yield POD_LABELS
    if resources(old) != resources(new):
        before, after = requests_of(old), requests_of(new)
        if any(count > after.get(name, 0) for name, count in before.items()):
            yield SCALED_DOWN


def resources(pod: Object) -> object:
    """What of a pod its requests depend on."""
    spec, status = pod["spec"], pod.get("status") or {}
    containers = (*spec.get("containers", ()), *(spec.get("initContainers") or ()))
    states = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    held = [(one.get("name"), one.get("resources"), one.get("allocatedResources")) for one in states]
    resizing = any(one.get("type") == "PodResizePending" for one in status.get("conditions") or ())
    return spec.get("resources"), [c.get("resources") for c in containers], held, resizing


def counts_anew(old: Object, new: Object) -> bool:
    """Whether a pod on a node has to be counted anew."""
    metadata = old["metadata"], new["metadata"]
    return (
        metadata[0].get("labels") != metadata[1].get("labels")
        or ("deletionTimestamp" in metadata[0]) != ("deletionTimestamp" in metadata[1])
        or resources(old) != resources(new)
    )
