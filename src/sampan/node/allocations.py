"""What each pod of this node was given: the requests and limits it was admitted with, and those it was resized to since.

A pod's spec says what it wants, its allocation what it has; they differ while a resize cannot be. The allocation is kept in
the pod's own folder, written before anything is done with it, so a node that dies in the middle of a resize goes on with
it, and one that was away decides about what was asked meanwhile. Source: KEP-1287.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

from sampan.node import json_file
from sampan.node.pod_admission import resize_refusal
from sampan.schema.objects import Object
from sampan.security.refusals import Refusal

FILE = "allocated.json"
KINDS = ("containers", "initContainers")


class Allocations:
    """The allocations of the node, by the pods' uids. ``changed`` is called when what is given changes."""

    def __init__(
        self,
        pods_dir: Path,
        allocatable: Callable[[], Mapping[str, str]],
        changed: Callable[[], None],
    ) -> None:
        self._pods_dir = pods_dir
        self._allocatable = allocatable
        self._changed = changed
        self._pods: dict[str, Object] = {}
        """What was admitted: the Pod with what it has."""

    def admit(self, pod: Object) -> None:
        """Take a pod that may run here, with what it has by its file or by its spec."""
        uid = pod["metadata"]["uid"]
        kept = self._read(uid)
        if kept is None:
            self._write(uid, pod)
        self._pods[uid] = pod if kept is None else with_resources(pod, kept)
        self._changed()

    def resize(self, pod: Object) -> Refusal | None:
        """Give a running pod what it asks for, or say why it cannot have it (now, or ever)."""
        uid = pod["metadata"]["uid"]
        if resources_of(pod) == resources_of(self._pods[uid]):
            self._pods[uid] = pod
            return None
        others = [other for known, other in self._pods.items() if known != uid]
        why = resize_refusal(pod, self._allocatable(), others)
        if why is None:
            self._write(uid, pod)
            self._pods[uid] = pod
            self._changed()
        return why

    def knows(self, uid: str) -> bool:
        return uid in self._pods

    def applied(self, pod: Object) -> Object:
        """Return the Pod with what it has, instead of what it wants."""
        allocated = self._pods.get(pod["metadata"]["uid"])
        return pod if allocated is None else with_resources(pod, resources_of(allocated))

    def release(self, uid: str) -> None:
        """Take back a pod's share: it has ended."""
        if self._pods.pop(uid, None) is not None:
            self._changed()

    def pods(self) -> list[Object]:
        """Return the pods that have a share, with what they have."""
        return list(self._pods.values())

    def is_kept(self, uid: str) -> bool:
        """Whether a pod was admitted here before this node came back."""
        return (self._pods_dir / uid / FILE).exists()

    def _read(self, uid: str) -> dict[str, Object] | None:
        found = json_file.read(self._pods_dir / uid / FILE)
        return found if isinstance(found, dict) else None

    def _write(self, uid: str, pod: Object) -> None:
        json_file.write(self._pods_dir / uid / FILE, resources_of(pod))


def resources_of(pod: Object) -> dict[str, Object]:
    """Return the resources of a pod's containers by name; of those that can be resized and all others."""
    return {c["name"]: c.get("resources") or {} for kind in KINDS for c in pod["spec"].get(kind) or ()}


def with_resources(pod: Object, resources: Mapping[str, Object]) -> Object:
    """Return the Pod with other resources of its containers; the Pod itself where they are the same."""
    if resources_of(pod) == resources:
        return pod
    changed = {**pod, "spec": dict(pod["spec"])}
    for kind in KINDS:
        if kind in pod["spec"]:
            changed["spec"][kind] = [
                {**c, "resources": copy.deepcopy(resources.get(c["name"], c.get("resources") or {}))}
                for c in pod["spec"][kind]
            ]
    return changed
