"""CPUs of their own for containers that ask for whole ones: the CPU manager's policy ``static``.

A container of a Guaranteed pod that asks for an integer of CPUs has as many to itself; all other containers share what is
left, and the CPUs that are reserved for the system are always among those. What a pod was given is kept in its folder, so a
node that comes back finds it. Containers that run are moved by their worker at its next look (``pod_resize.py``), which is
asked for when the shared CPUs change. Source: KEP-3570, kubernetes pkg/kubelet/cm/cpumanager (policy_static.go).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from sampan.node import json_file
from sampan.node.devices.allocation import NotLocal
from sampan.node.resources import milli, qos_class
from sampan.node.restart_policy import is_sidecar
from sampan.schema.objects import Object

FILE = "cpus.json"
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"

Given = Mapping[str, list[int]]
"""CPUs by container."""


class CpuSets:
    """The CPUs of a node. ``reserved``: how many are kept for the system, 0: nobody has CPUs of his own (policy ``none``).
    ``changed`` is called when the shared ones change."""

    def __init__(
        self, pods_dir: Path, reserved: int, changed: Callable[[], None], online: Collection[int] | None = None
    ) -> None:
        self._pods_dir = pods_dir
        self._changed = changed
        self._online = frozenset(os.sched_getaffinity(0) if online is None else online) if reserved else frozenset()
        self._reserved = frozenset(sorted(self._online)[:reserved])
        self._cores = cores_of(self._online)
        self._given: dict[str, Given] = {}

    @property
    def shared(self) -> frozenset[int]:
        """What containers without CPUs of their own have; empty where all may have all."""
        return self._online.difference(*(cpus for given in self._given.values() for cpus in given.values()))

    def admit(self, uid: str, pod: Object) -> None:
        """Give a new pod the CPUs that its containers ask for. An ordinary init container's are its followers', too. Raises
        ``NotLocal``."""
        if not self._online or not (asked := wanted(pod)):
            return
        before, given, lent = self.shared, dict[str, list[int]](), set[int]()
        sidecars = {c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar(c)}
        inits = {c["name"] for c in pod["spec"].get("initContainers") or ()} - sidecars
        for name, count in asked.items():
            taken = {cpu for one in given.values() for cpu in one} - lent
            found = choose(count, before - self._reserved - taken, lent, self._cores)
            given[name] = found
            if name in inits:
                lent.update(found)
            else:
                lent.difference_update(found)
        json_file.write(self._pods_dir / uid / FILE, given)
        self._given[uid] = given
        self._changed()

    def adopt(self, uid: str) -> None:
        """Take back what a pod was given before this node came back."""
        given = json_file.read(self._pods_dir / uid / FILE) if self._online else None
        if given is not None:
            self._given[uid] = given

    def release(self, uid: str) -> None:
        if self._given.pop(uid, None) is not None:
            self._changed()

    def is_given(self, uid: str) -> bool:
        """Whether a pod has CPUs of its own."""
        return uid in self._given

    def of(self, uid: str, container: str) -> str:
        """Return the CPUs that a container may use, as cgroups name them; ``""``: all."""
        own = (self._given.get(uid) or {}).get(container)
        return listed(self.shared if own is None else own)


def wanted(pod: Object) -> dict[str, int]:
    """Return how many CPUs each container is to have to itself, those of init containers first."""
    if qos_class(pod) != "Guaranteed":
        return {}
    holders = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    asked = {container["name"]: milli(container, "requests", "cpu") for container in holders}
    return {name: cpus // 1000 for name, cpus in asked.items() if cpus and cpus % 1000 == 0}


def choose(count: int, free: Collection[int], lent: Collection[int], cores: Sequence[frozenset[int]]) -> list[int]:
    """Return that many CPUs, the lent ones first, then whole cores, then what is left. Raises ``NotLocal``."""
    available = set(free) | set(lent)
    if len(available) < count:
        asked = f"requested={count}, available={len(available)}"
        raise NotLocal(f"not enough cpus available to satisfy request: {asked}")
    chosen = sorted(set(lent))[:count]
    left = available - set(chosen)
    for core in cores:
        if core <= left and len(core) <= count - len(chosen):
            chosen += sorted(core)
            left -= core
    split = [cpu for core in cores if not core <= left for cpu in sorted(core & left)]  # no other whole core is broken
    rest = [*split, *sorted(left.difference(split))]
    return sorted([*chosen, *rest[: count - len(chosen)]])


def cores_of(cpus: Iterable[int]) -> list[frozenset[int]]:
    """Return the CPUs by physical core, in their order."""
    cores: dict[frozenset[int], None] = {}
    for cpu in sorted(cpus):
        try:
            siblings = parsed(Path(SIBLINGS.format(cpu)).read_text())
        except OSError:
            siblings = frozenset({cpu})
        cores[siblings.intersection(cpus)] = None
    return list(cores)


def parsed(text: str) -> frozenset[int]:
    """Return a list of CPUs as the kernel writes it: ``0-3,7``."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def listed(cpus: Iterable[int]) -> str:
    """Return CPUs as the kernel reads them."""
    return ",".join(map(str, sorted(cpus)))
