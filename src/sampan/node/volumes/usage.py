"""How full volumes are, as ``/stats/summary`` and ``kubelet_volume_stats_*`` tell it.

A volume of its own filesystem is as full as that; what shares the node's disk is measured file by file; a CSI driver is asked
where it can tell. Source: k8s.io/kubelet pkg/apis/stats/v1alpha1 (VolumeStats), kubernetes pkg/volume (metrics_*.go).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.metrics.exposition import Family, Sample
from sampan.client.events import timestamp
from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi.driver import Capability, CsiFailure
from sampan.node.volumes.csi_notes import NOTES, read
from sampan.node.volumes.volume import Mounted
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.node.context import NodeContext

MEASURED = ("emptyDir", "configMap", "secret", "downwardAPI", "projected")
UNKNOWN = ("hostPath",)
FIELDS = {
    "capacity_bytes": ("capacityBytes", "Capacity in bytes of the volume"),
    "available_bytes": ("availableBytes", "Number of available bytes in the volume"),
    "used_bytes": ("usedBytes", "Number of used bytes in the volume"),
    "inodes": ("inodes", "Maximum number of inodes in the volume"),
    "inodes_free": ("inodesFree", "Number of free inodes in the volume"),
    "inodes_used": ("inodesUsed", "Number of used inodes in the volume"),
}


async def volume_stats(context: NodeContext, pod: Object, ready: Mapping[str, Mounted]) -> list[Object]:
    """Return a pod's VolumeStats."""
    found = []
    for entry in pod["spec"].get("volumes") or ():
        mounted = ready.get(entry["name"])
        kind = next((key for key in entry if key != "name"), "emptyDir")
        if mounted is None or mounted.block or kind in UNKNOWN:
            continue
        told = await _of_driver(context, mounted.path)
        if told is None:
            try:
                told = await asyncio.to_thread(filled, mounted.path, kind in MEASURED)
            except OSError:
                continue  # it goes this moment
        shown = {"name": entry["name"], "time": timestamp(), **told}
        if claim := claim_of(pod, entry, kind):
            shown["pvcRef"] = {"name": claim, "namespace": pod["metadata"]["namespace"]}
        found.append(shown)
    return found


def claim_of(pod: Object, entry: Object, kind: str) -> str:
    if kind == "persistentVolumeClaim":
        return str(entry[kind]["claimName"])
    return f"{pod['metadata']['name']}-{entry['name']}" if kind == "ephemeral" else ""


def filled(path: Path, measured: bool) -> Object:
    """Return the figures of a folder: what its filesystem has, or what its files take of that."""
    disk = os.statvfs(path)
    used, inodes = disk.f_frsize * (disk.f_blocks - disk.f_bfree), disk.f_files - disk.f_ffree
    if measured:
        used, inodes = size_of(path)
    return {
        "capacityBytes": disk.f_frsize * disk.f_blocks,
        "availableBytes": disk.f_frsize * disk.f_bavail,
        "usedBytes": used,
        "inodes": disk.f_files,
        "inodesFree": disk.f_ffree,
        "inodesUsed": inodes,
    }


def size_of(path: Path) -> tuple[int, int]:
    """Return the bytes and the number of files of a folder, itself included."""
    size, count = 0, 0
    for root, _, files in os.walk(path):
        for name in ("", *files):
            try:
                size += Path(root, name).lstat().st_blocks * 512
            except OSError:
                continue
            count += 1
    return size, count


async def _of_driver(context: NodeContext, path: Path) -> Object | None:
    """Return what a CSI driver says of its volume; None where that is no driver's, or it does not tell."""
    if not (path.parent / NOTES).exists():  # one look at a local disk
        return None
    note = read(path.parent)
    driver = context.csi.drivers.get(note.driver)
    if driver is None or not driver.can(Capability.GET_VOLUME_STATS):
        return None
    try:
        answer = await driver.stats(note.handle, path)
    except CsiFailure:
        return None
    shown: Object = {}
    for usage in answer.usage:
        names = ("capacityBytes", "availableBytes", "usedBytes")
        if usage.unit == csi.VolumeUsage.INODES:
            names = ("inodes", "inodesFree", "inodesUsed")
        shown |= dict(zip(names, (usage.total, usage.available, usage.used), strict=True))
    if answer.HasField("volume_condition"):
        shown["volumeHealthStats"] = {"abnormal": answer.volume_condition.abnormal}
    return shown


def families(stats: Iterable[Object]) -> list[Family]:
    """Return the metrics of the claims among VolumeStats."""
    rows = [(one["pvcRef"], one) for one in stats if "pvcRef" in one]
    made = []
    for name, (field, help) in FIELDS.items():
        samples = [
            Sample({"namespace": claim["namespace"], "persistentvolumeclaim": claim["name"]}, one[field])
            for claim, one in rows
            if field in one
        ]
        made.append(Family(f"kubelet_volume_stats_{name}", "gauge", f"[ALPHA] {help}", samples))
    return made
