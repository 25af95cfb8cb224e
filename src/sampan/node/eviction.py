"""The node runs short of memory, disk or processes: room is made, pods are evicted, conditions are told.

Every ten seconds (every second while it is short) the levels are read; pods with limits of local storage are measured on the
same round. First what nobody uses goes (images), then one pod a round, by ``eviction_plan.py``. Source: the node-pressure
eviction page of Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sampan.node import eviction_plan
from sampan.node.eviction_plan import Level, PodUse, Pressure, Threshold, thresholds_of
from sampan.node.image_collection import ImageCollection
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.runtime import Runtime
from sampan.node.stats import Pod, Snapshot
from sampan.node.stats_reading import HasPod, Reader, filesystem, machine_usage, text

logger = logging.getLogger("sampan.node")

ROUND_SECONDS, SHORT_ROUND_SECONDS = 10.0, 1.0
SOFT_GRACE_SECONDS, HARD_GRACE_SECONDS = 30, 1


class Evictable(HasPod, Protocol):
    def evict(self, message: str, grace_seconds: int) -> None: ...


class Eviction:
    """Watches over the node. ``conditions`` are those that hold; ``changed`` is called when they change, ``tell`` for events
    about the node (reason, message)."""

    def __init__(
        self,
        runtime: Runtime,
        reader: Reader,
        workers: Mapping[str, Evictable],
        images: ImageCollection,
        config: KubeletConfig,
        changed: Callable[[], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._runtime, self._reader, self._workers = runtime, reader, workers
        self._images, self._config = images, config
        self._changed, self._tell = changed, tell
        self._thresholds = thresholds_of(config)
        self._pressure = Pressure()
        self.conditions: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            short = await self.look()
            await asyncio.sleep(SHORT_ROUND_SECONDS if short else ROUND_SECONDS)

    async def look(self) -> bool:
        """Look once; return whether the node is short of something. Raises ``RuntimeFailure``."""
        levels = await self._levels()
        period = self._config.eviction_pressure_transition_period
        due = self._pressure.look(self._thresholds, levels, time.monotonic(), period)
        if self.conditions != self._pressure.conditions:
            for condition in self._pressure.conditions - self.conditions:
                logger.warning("the node is in %s", condition)
            self.conditions = set(self._pressure.conditions)
            self._changed()
        limited = any(eviction_plan.has_limits(worker.pod) for worker in self._workers.values())
        uses = await self._uses(whole=bool(due)) if limited or due else []
        for use in uses:
            if problem := eviction_plan.storage_problem(use):
                self._evict(use, problem, HARD_GRACE_SECONDS)
                return True
        if due:
            await self._relieve(due[0], levels[due[0].signal], uses)
        return bool(due)

    async def _levels(self) -> dict[str, Level]:
        usage, disk = machine_usage(text("/proc/stat"), text("/proc/meminfo")), filesystem(self._reader.kubelet_dir)
        largest_pid = int(text("/proc/sys/kernel/pid_max") or 0)
        processes = int(text("/proc/loadavg").split()[3].partition("/")[2] or 0)
        memory = (usage.available_bytes or 0) + (usage.working_set_bytes or 0)
        levels = {
            "memory.available": Level(memory, usage.available_bytes or 0),
            "pid.available": Level(largest_pid, largest_pid - processes),
        }
        if disk is not None:
            levels["nodefs.available"] = Level(disk.capacity_bytes, disk.available_bytes)
            levels["nodefs.inodesFree"] = Level(disk.inodes, disk.inodes_free)
        images = await self._images.disk()
        levels["imagefs.available"] = Level(*images)
        if disk is not None and images.capacity == disk.capacity_bytes:
            levels["imagefs.inodesFree"] = levels["nodefs.inodesFree"]
        return levels

    async def _uses(self, *, whole: bool) -> list[PodUse]:
        """Measure the pods that have limits, or all of them."""
        snapshot = await self._reader.read(self._runtime, list(self._workers.values()))
        return await asyncio.to_thread(self._measure, snapshot, whole)

    def _measure(self, snapshot: Snapshot, whole: bool) -> list[PodUse]:
        found = []
        for told in snapshot.pods:
            worker = self._workers.get(told.uid)
            if worker is not None and not worker.view.failed_reason and (whole or eviction_plan.has_limits(worker.pod)):
                found.append(self._use_of(told, worker))
        return found

    def _use_of(self, told: Pod, worker: Evictable) -> PodUse:
        storage = {c.name: (c.layer_bytes or 0) + c.log_bytes for c in told.containers}
        folder = self._reader.kubelet_dir / "pods" / told.uid / "volumes" / "kubernetes.io~empty-dir"
        volumes = {
            volume["name"]: size_of_tree(folder / volume["name"])
            for volume in worker.pod["spec"].get("volumes") or ()
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("medium")
        }
        return PodUse(
            worker.pod,
            memory=told.usage.working_set_bytes or 0,
            storage=sum(storage.values()) + sum(volumes.values()),
            processes=told.processes or 0,
            containers={c.name: c.usage.working_set_bytes or 0 for c in told.containers},
            container_storage=storage,
            volumes=volumes,
        )

    async def _relieve(self, threshold: Threshold, level: Level, uses: list[PodUse]) -> None:
        """Make room for one signal: unused images first where that helps, then the first pod of the order."""
        resource = eviction_plan.RESOURCES[threshold.signal]
        order = eviction_plan.ranked(uses, resource)
        if not order and resource not in ("ephemeral-storage", "inodes"):
            return  # the conditions keep others away
        self._tell("EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if resource in ("ephemeral-storage", "inodes") and await self._images.remove_unused():
            return
        if not order:
            return
        first = order[0]
        grace = min(self._config.eviction_max_pod_grace_period, SOFT_GRACE_SECONDS)
        message = eviction_plan.why(threshold, level, first)
        self._evict(first, message, HARD_GRACE_SECONDS if threshold.hard else grace)

    def _evict(self, use: PodUse, message: str, grace_seconds: int) -> None:
        worker = self._workers.get(use.uid)
        if worker is not None:  # it may have gone since it was measured
            worker.evict(message, grace_seconds)


def size_of_tree(folder: Path) -> int:
    """Return the bytes that the files below a folder take of the disk, each hard link once."""
    total, seen = 0, set()
    for root, folders, files in os.walk(folder, onerror=None):
        for name in (*folders, *files):
            try:
                found = os.lstat(os.path.join(root, name))  # noqa: PTH118  # a volume may hold a million files
            except OSError:
                continue
            if found.st_nlink > 1 and not os.path.isdir(os.path.join(root, name)):  # noqa: PTH112, PTH118
                if found.st_ino in seen:
                    continue
                seen.add(found.st_ino)
            total += found.st_blocks * 512
    return total
