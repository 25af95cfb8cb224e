"""The facts of ``stats.py`` from where they are: the runtime (CRI), cgroups v1 and v2, and /proc.

Source: CRI ListContainerStats; Documentation/admin-guide/cgroup-v1 and cgroup-v2; proc(5).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sampan.node import cri_pb2 as cri
from sampan.node.cgroup_limits import ROOT, is_v2
from sampan.node.pod_config import CONTAINER, UID, log_directory
from sampan.node.pod_view import ContainerView, PodView
from sampan.node.resources import cgroup_parent
from sampan.node.stats import NANO, Container, Filesystem, Interface, Pod, Snapshot, Usage
from sampan.schema.objects import Object

TICK_NANOSECONDS = NANO // os.sysconf("SC_CLK_TCK")
LOOPBACK = "lo"


class HasPod(Protocol):
    """What of a pod's worker is read."""

    @property
    def pod(self) -> Object: ...
    @property
    def view(self) -> PodView: ...


class TellsStats(Protocol):
    async def container_stats(self) -> list[cri.ContainerStats]: ...


class Reader:
    """Reads everything of one node. ``link_of`` names the node's end of a sandbox's network."""

    def __init__(self, node: str, cgroup: str, kubelet_dir: Path, pod_log_dir: Path) -> None:
        self.node, self.cgroup = node, cgroup
        self.kubelet_dir, self.pod_log_dir = kubelet_dir, pod_log_dir

    async def read(self, runtime: TellsStats, workers: Iterable[HasPod]) -> Snapshot:
        """Return everything as it is. Raises ``RuntimeFailure``."""
        told = {(s.attributes.labels[UID], s.attributes.id): s for s in await runtime.container_stats()}
        # what is read in a thread is taken here: the loop goes on changing the views
        pods = [(worker.pod, worker.view, dict(worker.view.containers)) for worker in workers]
        return await asyncio.to_thread(self._read, told, pods)

    def _read(
        self,
        told: dict[tuple[str, str], cri.ContainerStats],
        pods: list[tuple[Object, PodView, dict[str, ContainerView]]],
    ) -> Snapshot:
        links = interfaces(text("/proc/net/dev"))
        return Snapshot(
            node=self.node,
            booted=boot_time(text("/proc/stat")),
            usage=machine_usage(text("/proc/stat"), text("/proc/meminfo")),
            pods=[
                self._pod(pod, view, containers, told, links) for pod, view, containers in pods if view.sandbox_ready
            ],
            interfaces=[link for name, link in links.items() if name != LOOPBACK and not name.startswith("pod")],
            disk=filesystem(self.kubelet_dir),
            largest_pid=int(text("/proc/sys/kernel/pid_max") or 0),
            processes=int(text("/proc/loadavg").split()[3].partition("/")[2] or 0),
        )

    def _pod(
        self,
        pod: Object,
        view: PodView,
        containers: dict[str, ContainerView],
        told: dict[tuple[str, str], cri.ContainerStats],
        links: dict[str, Interface],
    ) -> Pod:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        cgroup = cgroup_parent(self.cgroup, pod)
        link = None if pod["spec"].get("hostNetwork") else links.get(link_of(view.sandbox_id))
        usage = cgroup_usage(cgroup)
        made = Pod(
            metadata["namespace"],
            metadata["name"],
            uid,
            pod.get("status", {}).get("startTime") or metadata.get("creationTimestamp", ""),
            usage,
            interface=None if link is None else turned(link),
            processes=cgroup_number(cgroup, "pids", "pids.current"),
        )
        logs = log_directory(self.pod_log_dir, pod)
        for name, container in containers.items():
            current = container.current
            stats = told.get((uid, current.id)) if current is not None else None
            if current is None or stats is None or current.state != cri.CONTAINER_RUNNING:
                continue
            made.containers.append(
                Container(
                    name=stats.attributes.labels.get(CONTAINER, name),
                    id=current.id,
                    image=current.image.image,
                    started=current.started_at,
                    usage=runtime_usage(stats),
                    layer_bytes=value(stats.writable_layer, "used_bytes"),
                    layer_inodes=value(stats.writable_layer, "inodes_used"),
                    log_bytes=size_of(logs / name),
                )
            )
        if usage.cpu_nanoseconds is None:  # a cgroup of another's making
            made.usage = sum_of(made.containers, usage.at)
        return made


def link_of(sandbox_id: str) -> str:
    from sampan.network.cni_attachment import link_name  # with the network's libraries, which only a node has loaded

    return link_name(sandbox_id, "eth0")


def turned(link: Interface) -> Interface:
    """Return the pod's end of a link, whose other end is the node's: what one sends the other receives."""
    return Interface("eth0", link.sent_bytes, link.send_errors, link.received_bytes, link.receive_errors)


def value(message: object, name: str) -> int | None:
    """Return an optional number of CRI."""
    return int(getattr(message, name).value) if message.HasField(name) else None  # type: ignore[attr-defined]


def runtime_usage(stats: cri.ContainerStats) -> Usage:
    return Usage(
        at=stats.cpu.timestamp or stats.memory.timestamp or time.time_ns(),
        cpu_nanoseconds=value(stats.cpu, "usage_core_nano_seconds"),
        memory_bytes=value(stats.memory, "usage_bytes"),
        working_set_bytes=value(stats.memory, "working_set_bytes"),
        rss_bytes=value(stats.memory, "rss_bytes"),
        page_faults=value(stats.memory, "page_faults"),
        major_page_faults=value(stats.memory, "major_page_faults"),
        available_bytes=value(stats.memory, "available_bytes") or None,
    )


def sum_of(containers: list[Container], at: int) -> Usage:
    """Return what containers use together."""

    def total(name: str) -> int:
        return sum(getattr(container.usage, name) or 0 for container in containers)

    return Usage(
        at,
        total("cpu_nanoseconds"),
        total("memory_bytes"),
        total("working_set_bytes"),
        total("rss_bytes"),
        total("page_faults"),
        total("major_page_faults"),
    )


# cgroups


def cgroup_file(cgroup: str, controller: str, name: str) -> Path:
    return (ROOT if is_v2() else ROOT / controller) / cgroup.lstrip("/") / name


def cgroup_number(cgroup: str, controller: str, name: str) -> int | None:
    found = text(cgroup_file(cgroup, controller, name)).strip()
    return int(found) if found.isdecimal() else None


def cgroup_usage(cgroup: str) -> Usage:
    """Return what a cgroup with all below it uses; without CPU where there is no such cgroup."""
    at = time.time_ns()
    pages = keyed(text(cgroup_file(cgroup, "memory", "memory.stat")))
    if is_v2():
        cpu = keyed(text(cgroup_file(cgroup, "", "cpu.stat"))).get("usage_usec")
        used = None if cpu is None else cpu * 1000
        memory = cgroup_number(cgroup, "", "memory.current")
        names = ("inactive_file", "anon", "pgfault", "pgmajfault")
    else:
        used = cgroup_number(cgroup, "cpuacct", "cpuacct.usage")
        memory = cgroup_number(cgroup, "memory", "memory.usage_in_bytes")
        names = ("total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault")
    inactive, rss, faults, major = (pages.get(name) for name in names)
    working = None if memory is None else max(memory - (inactive or 0), 0)
    return Usage(at, used, memory, working, rss, faults, major)


def keyed(lines: str) -> dict[str, int]:
    """Return the numbers of a file of ``name number`` lines."""
    pairs = (line.split() for line in lines.splitlines())
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs if len(pair) >= 2 and pair[1].isdecimal()}


# the machine


def machine_usage(stat: str, meminfo: str) -> Usage:
    """Return what the machine uses: all time but idle and waiting; memory that is not free, less the file pages that
    nobody used of late."""
    ticks = [int(word) for word in stat.partition("\n")[0].split()[1:9]]
    busy = sum(ticks[:3]) + sum(ticks[5:8])  # user nice system | idle iowait | irq softirq steal
    memory = {name: kilobytes * 1024 for name, kilobytes in keyed(meminfo).items()}
    used = memory["MemTotal"] - memory["MemFree"]
    working = max(used - memory.get("Inactive(file)", 0), 0)
    available = memory["MemTotal"] - working
    rss = memory.get("AnonPages")
    return Usage(time.time_ns(), busy * TICK_NANOSECONDS, used, working, rss, available_bytes=available)


def boot_time(stat: str) -> int:
    return keyed(stat).get("btime", 0) * NANO


def interfaces(dev: str) -> dict[str, Interface]:
    """Return the interfaces of /proc/net/dev."""
    found = {}
    for line in dev.splitlines()[2:]:
        name, _, rest = line.partition(":")
        words = [int(word) for word in rest.split()]
        found[name.strip()] = Interface(name.strip(), words[0], words[2], words[8], words[10])
    return found


def filesystem(path: Path) -> Filesystem | None:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Filesystem(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_ffree)


def size_of(folder: Path) -> int:
    try:
        return sum(entry.stat().st_blocks * 512 for entry in folder.iterdir())
    except OSError:
        return 0


def text(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
