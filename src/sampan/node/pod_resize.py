"""Making a running pod have what it was given: its cgroup and the resources of its containers, without a restart if it can
be.

The worker asks at each look. What is in force is what the kernel says, not what was last asked for, so a resize that a
crash cut off is found and finished. The pod's cgroup has its limits from its making on (``pod_setup.py``); it grows before
its containers and shrinks after them. Source: KEP-1287.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sampan.node import cgroup_limits
from sampan.node import cri_pb2 as cri
from sampan.node.cgroup_limits import Limits
from sampan.node.cpu_sets import parsed
from sampan.node.local_pod import LocalPod
from sampan.node.pod_view import ContainerView
from sampan.node.resources import cgroup_parent, linux_resources, oom_score, pod_limits
from sampan.node.restart_policy import is_sidecar
from sampan.node.runtime import RuntimeFailure
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")
RETRY_SECONDS = 5.0


class PodResizer:
    """Resizes one pod. ``kill(name, message)`` is called for a container that is to be restarted with what it was given."""

    def __init__(self, local: LocalPod, kill: Callable[[str, str], None]) -> None:
        self._local = local
        self._kill = kill
        self._in_force: dict[str, bytes] = {}
        """Container id → the resources that are in force."""
        self._pod_limits: Limits | None = None
        """Those of the pod's cgroup; None: not known yet."""

    def cgroup(self) -> str:
        return cgroup_parent(self._local.context.cgroup, self._local.pod)

    async def apply(self) -> None:
        """Bring cgroups and containers in line with what the pod was given; say in the view what could not be."""
        local, view = self._local, self._local.view
        view.resizing, view.resize_problem = False, ""
        wanted = pod_limits(local.pod, local.context.pod_pids_limit)
        if self._pod_limits is None:
            self._pod_limits = cgroup_limits.in_force(self.cgroup())
        runs = any(seen.running for seen in view.containers.values())
        grown = larger(self._pod_limits, wanted) if runs else wanted
        try:
            if grown != self._pod_limits:
                self._write(grown)
            for container in resizable(local.pod):
                await self._apply_container(container, view.of(container["name"]))
            if not view.resizing and wanted != self._pod_limits:
                self._write(wanted)
        except (RuntimeFailure, OSError) as error:
            logger.warning("%s: resources: %s", local.key, error)
            view.resizing, view.resize_problem = True, str(error)
        if view.resizing:
            local.wake_after(RETRY_SECONDS)

    def _write(self, limits: Limits) -> None:
        if self._pod_limits is not None and 0 < limits.memory < cgroup_limits.memory_in_use(self.cgroup()):
            raise OSError(f"the pod uses more memory than its new limit of {limits.memory} bytes")
        cgroup_limits.write(self.cgroup(), limits)
        self._pod_limits = limits

    async def _apply_container(self, container: Object, seen: ContainerView) -> None:
        if not seen.running or seen.current is None or seen.stale:
            seen.resources = container.get("resources") or {}
            return
        context = self._local.context
        score = oom_score(self._local.pod, container, context.memory_bytes, context.host.least_oom_score)
        uid, name = self._local.uid, container["name"]
        wanted = linux_resources(container, score, context.cpus.of(uid, name), context.memory.of(uid, name))
        container_id = seen.current.id
        key = wanted.SerializeToString(deterministic=True)
        if self._in_force.get(container_id) == key or self._holds(seen.current, wanted):
            self._in_force[container_id] = key
            seen.resources = container.get("resources") or {}
            return
        self._local.view.resizing = True
        if needs_restart(container, seen.resources):
            seen.resized = container_id
            self._kill(container["name"], f"Container {container['name']} resize requires restart")
            return
        used = cgroup_limits.memory_in_use(f"{self.cgroup()}/{container_id}")
        if 0 < wanted.memory_limit_in_bytes < used:
            raise OSError(f"container {container['name']} uses {used} bytes of memory, more than its new limit")
        if not wanted.cpu_quota:
            wanted.cpu_period, wanted.cpu_quota = 100_000, -1
        if not wanted.memory_limit_in_bytes:
            wanted.memory_limit_in_bytes = -1
            wanted.memory_swap_limit_in_bytes = -1 if wanted.memory_swap_limit_in_bytes else 0
        await self._local.context.runtime.update_container_resources(container_id, wanted)
        self._in_force[container_id] = key
        seen.resources = container.get("resources") or {}
        self._local.view.resizing = False

    def _holds(self, current: cri.ContainerStatus, wanted: cri.LinuxContainerResources) -> bool:
        """Whether the kernel (or, of a runtime that is not ours, its word) says that a container has what it was given."""
        limits = Limits(wanted.cpu_shares, wanted.cpu_quota, memory=wanted.memory_limit_in_bytes)
        try:
            cgroup = f"{self.cgroup()}/{current.id}"
            cpus = parsed(wanted.cpuset_cpus)
            return cgroup_limits.holds(cgroup, limits) and (not cpus or parsed(cgroup_limits.cpus_of(cgroup)) == cpus)
        except (OSError, ValueError):
            told = current.resources.linux
            return not current.HasField("resources") or (
                told.cpu_shares == wanted.cpu_shares
                and max(told.cpu_quota, 0) == wanted.cpu_quota
                and max(told.memory_limit_in_bytes, 0) == wanted.memory_limit_in_bytes
            )


def resizable(pod: Object) -> list[Object]:
    """Return the containers that can be resized: the main ones and sidecars."""
    sidecars = [container for container in pod["spec"].get("initContainers") or () if is_sidecar(container)]
    return [*pod["spec"]["containers"], *sidecars]


def needs_restart(container: Object, in_force: Object | None) -> bool:
    """Whether a resource that changes is one that the container must be restarted for."""
    resources = container.get("resources") or {}
    for policy in container.get("resizePolicy") or ():
        if policy.get("restartPolicy") != "RestartContainer":
            continue
        name = policy["resourceName"]
        if in_force is None or any(
            (resources.get(kind) or {}).get(name) != (in_force.get(kind) or {}).get(name)
            for kind in ("requests", "limits")
        ):
            return True
    return False


def larger(one: Limits | None, other: Limits) -> Limits:
    """Return limits that allow what either allows."""
    if one is None:
        return other

    def most(a: int, b: int) -> int:
        return 0 if not a or not b else max(a, b)

    return Limits(
        max(one.shares, other.shares),
        most(one.quota, other.quota),
        other.period,
        most(one.memory, other.memory),
        other.pids,
        other.hugepages,
    )
