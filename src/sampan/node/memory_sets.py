"""Memory of their own for containers of Guaranteed pods: the memory manager's policy ``Static``, on one NUMA node.

What such a container asks for (memory, huge pages) is taken from what the node has beyond its reservation, and it may use
memory of that NUMA node only (``cpuset.mems``). An ordinary init container's is its followers', too; what it had more than
they is free again when the next container starts. What a pod was given is kept in its folder, so a node that comes back
finds it. Source: KEP-1769, kubernetes pkg/kubelet/cm/memorymanager (policy_static.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sampan.node import json_file
from sampan.node.devices.allocation import NotEnough
from sampan.node.numa import is_pages
from sampan.node.resources import qos_class
from sampan.node.restart_policy import is_sidecar
from sampan.scheduler.pod_info import amount
from sampan.schema.objects import Object

FILE = "memory.json"
NONE_LEFT = "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"

Given = dict[str, dict[str, int]]
"""Bytes by resource, by container."""


class MemorySets:
    """The memory of a node. ``whole``: what there is for Guaranteed pods; None: nobody has his own (policy ``None``)."""

    def __init__(self, pods_dir: Path, whole: Mapping[str, int] | None, node: int = 0) -> None:
        self._pods_dir = pods_dir
        self._whole = whole
        self._node = str(node)
        self._given: dict[str, Given] = {}

    def admit(self, uid: str, pod: Object) -> None:
        """Give a new pod the memory that its containers ask for. Raises ``NotEnough``."""
        if self._whole is None or not (asked := wanted(pod)):
            return
        free = {name: value - self._used(name) for name, value in self._whole.items()}
        given = share(pod, asked, free)
        self._given[uid] = given
        self._write(uid)

    def adopt(self, uid: str) -> None:
        """Take back what a pod was given before this node came back."""
        given = json_file.read(self._pods_dir / uid / FILE) if self._whole is not None else None
        if given is not None:
            self._given[uid] = given

    def release(self, uid: str) -> None:
        self._given.pop(uid, None)

    def begin(self, uid: str, pod: Object, container: str) -> None:
        """A container starts: the ordinary init containers before it are over, and what they had is free."""
        given = self._given.get(uid)
        if given is None:
            return
        over = []
        for init in pod["spec"].get("initContainers") or ():
            if init["name"] == container:
                break
            if not is_sidecar(init) and given.get(init["name"]):
                over.append(init["name"])
        if over:
            given.update({name: {} for name in over})
            self._write(uid)

    def of(self, uid: str, container: str) -> str:
        """Return the NUMA nodes whose memory a container may use, as cgroups name them; ``""``: all."""
        return self._node if container in self._given.get(uid, ()) else ""

    def _used(self, resource: str) -> int:
        return sum(sizes.get(resource, 0) for given in self._given.values() for sizes in given.values())

    def _write(self, uid: str) -> None:
        json_file.write(self._pods_dir / uid / FILE, self._given[uid])


def wanted(pod: Object) -> Given:
    """Return what each container is to have to itself, those of init containers first. Pods that ask as a whole have
    nothing of their own."""
    if qos_class(pod) != "Guaranteed" or pod["spec"].get("resources"):
        return {}
    holders = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    asked = {container["name"]: requests(container) for container in holders}
    return {name: sizes for name, sizes in asked.items() if sizes}


def requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    told = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: amount(name, str(value)) for name, value in told.items() if name == "memory" or is_pages(name)}


def share(pod: Object, asked: Given, free: dict[str, int]) -> Given:
    """Return what each container takes of what is free, that of the init containers before it first. Raises
    ``NotEnough``."""
    ordinary = [one["name"] for one in pod["spec"].get("initContainers") or () if not is_sidecar(one)]
    given: Given = {}
    reusable: dict[str, int] = {}
    for name, sizes in asked.items():
        for resource, size in sizes.items():
            reused = min(reusable.get(resource, 0), size)
            if free.get(resource, 0) < size - reused:
                raise NotEnough(NONE_LEFT)
        given[name] = dict(sizes)
        for resource, size in sizes.items():
            reused = min(reusable.get(resource, 0), size)
            free[resource] = free.get(resource, 0) - (size - reused)
            for init in ordinary:  # a byte counts once, for whoever has it last
                less = min(given[init].get(resource, 0), reused) if init in given and init != name else 0
                if less:
                    given[init][resource] -= less
                    reused -= less
            had = reusable.get(resource, 0)
            reusable[resource] = max(had, size) if name in ordinary else max(had - size, 0)
    return given
