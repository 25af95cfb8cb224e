"""What a node and its pods use: the facts, and the kubelet's Summary made of them. Pure.

``stats_reading.py`` takes the facts, ``stats_rates.py`` makes rates of two of them, ``stats_metrics.py`` writes them for
Prometheus and ``stats_routes.py`` serves all. Source: kubelet pkg/apis/stats/v1alpha1 (Summary).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from sampan.schema.objects import Object

NANO = 1_000_000_000
Key = tuple[str, ...]
"""Of whom something is measured: ``()`` the node, ``(uid,)`` a pod, ``(uid, container id)`` a container."""


@dataclass(slots=True)
class Usage:
    """CPU and memory at a moment (nanoseconds since 1970); what is not known is None."""

    at: int
    cpu_nanoseconds: int | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    rss_bytes: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    available_bytes: int | None = None


@dataclass(slots=True)
class Filesystem:
    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int
    used_bytes: int | None = None
    """Of what is measured, where that is only a part of the file system."""
    inodes_used: int | None = None


@dataclass(slots=True)
class Interface:
    name: str
    received_bytes: int
    receive_errors: int
    sent_bytes: int
    send_errors: int


@dataclass(slots=True)
class Container:
    name: str
    id: str
    image: str
    started: int
    usage: Usage
    layer_bytes: int | None = None
    layer_inodes: int | None = None
    log_bytes: int = 0


@dataclass(slots=True)
class Pod:
    namespace: str
    name: str
    uid: str
    started: str
    usage: Usage
    containers: list[Container] = field(default_factory=list)
    interface: Interface | None = None
    processes: int | None = None


@dataclass(slots=True)
class Snapshot:
    """Everything at about one moment."""

    node: str
    booted: int
    usage: Usage
    pods: list[Pod] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    disk: Filesystem | None = None
    largest_pid: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    nano_cores: int
    window_nanoseconds: int


Rates = Mapping[Key, Rate]


def moment(nanoseconds: int) -> str:
    """Return a time as ``metav1.Time``."""
    when = datetime.datetime.fromtimestamp(nanoseconds // NANO, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(snapshot: Snapshot, rates: Rates, *, only_cpu_and_memory: bool = False) -> Object:
    """Return the Summary. ``cpu.window`` is ours: between which two moments the rate was taken."""
    node = {"nodeName": snapshot.node, "startTime": moment(snapshot.booted), **usage_of(snapshot.usage, rates.get(()))}
    if not only_cpu_and_memory:
        at = moment(snapshot.usage.at)
        node["rlimit"] = {"time": at, "maxpid": snapshot.largest_pid, "curproc": snapshot.processes}
        if snapshot.interfaces:
            shown = [interface_of(interface) for interface in snapshot.interfaces]
            node["network"] = {"time": at, **shown[0], "interfaces": shown}
        if snapshot.disk is not None:
            node["fs"] = node_fs = {"time": at, **filesystem_of(snapshot.disk)}
            node["runtime"] = {"imageFs": node_fs, "containerFs": node_fs}
    return {"node": node, "pods": [pod_of(pod, snapshot.disk, rates, only_cpu_and_memory) for pod in snapshot.pods]}


def pod_of(pod: Pod, disk: Filesystem | None, rates: Rates, only_cpu_and_memory: bool) -> Object:
    containers = []
    for container in pod.containers:
        shown: Object = {"name": container.name, "startTime": moment(container.started)}
        shown |= usage_of(container.usage, rates.get((pod.uid, container.id)))
        if not only_cpu_and_memory and disk is not None:
            at = moment(container.usage.at)
            shown["rootfs"] = {"time": at, **filesystem_of(part(disk, container.layer_bytes, container.layer_inodes))}
            shown["logs"] = {"time": at, **filesystem_of(part(disk, container.log_bytes, None))}
        containers.append(shown)
    made: Object = {"podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}, "startTime": pod.started}
    made |= {"containers": containers, **usage_of(pod.usage, rates.get((pod.uid,)))}
    if only_cpu_and_memory:
        return made
    at = moment(pod.usage.at)
    if pod.interface is not None:
        link = interface_of(pod.interface)
        made["network"] = {"time": at, **link, "interfaces": [link]}
    if disk is not None:
        used = sum((container.layer_bytes or 0) + container.log_bytes for container in pod.containers)
        made["ephemeral-storage"] = {"time": at, **filesystem_of(part(disk, used, None))}
    if pod.processes is not None:
        made["process_stats"] = {"process_count": pod.processes}
    return made


def part(disk: Filesystem, used_bytes: int | None, inodes_used: int | None) -> Filesystem:
    return Filesystem(
        disk.capacity_bytes, disk.available_bytes, disk.inodes, disk.inodes_free, used_bytes or 0, inodes_used
    )


def usage_of(usage: Usage, rate: Rate | None) -> Object:
    """Return the ``cpu`` and ``memory`` of something."""
    at = moment(usage.at)
    cpu: Object = {"time": at}
    if rate is not None:
        cpu |= {"usageNanoCores": rate.nano_cores, "window": f"{rate.window_nanoseconds / NANO:.3f}s"}
    if usage.cpu_nanoseconds is not None:
        cpu["usageCoreNanoSeconds"] = usage.cpu_nanoseconds
    amounts = {
        "availableBytes": usage.available_bytes,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
    memory = {"time": at, **{name: amount for name, amount in amounts.items() if amount is not None}}
    return {"cpu": cpu, "memory": memory}


def interface_of(interface: Interface) -> Object:
    return {
        "name": interface.name,
        "rxBytes": interface.received_bytes,
        "rxErrors": interface.receive_errors,
        "txBytes": interface.sent_bytes,
        "txErrors": interface.send_errors,
    }


def filesystem_of(filesystem: Filesystem) -> Object:
    used = filesystem.capacity_bytes - filesystem.available_bytes
    whole = filesystem.used_bytes is None
    inodes_used = filesystem.inodes - filesystem.inodes_free if whole else filesystem.inodes_used
    shown = {
        "availableBytes": filesystem.available_bytes,
        "capacityBytes": filesystem.capacity_bytes,
        "usedBytes": used if whole else filesystem.used_bytes,
        "inodesFree": filesystem.inodes_free,
        "inodes": filesystem.inodes,
        "inodesUsed": inodes_used,
    }
    return {name: value for name, value in shown.items() if value is not None}
