"""What a node that died in the middle of an end has left of pods that nobody knows any more: logs and cgroups.

Both carry the pod's uid in their names. Sandboxes and volumes are ``node.py``'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sampan.node import pod_cgroups
from sampan.node.cgroup_limits import ROOT, is_v2
from sampan.node.resources import LEVELS, pods_cgroup


def logs(folder: Path, known: Collection[str]) -> list[Path]:
    """Return the folders of logs (``<namespace>_<name>_<uid>``) whose pods are not known."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.rpartition("_")[2] not in known)


def cgroups(cluster_cgroup: str, known: Collection[str]) -> set[str]:
    """Return the cgroups of pods that are not known."""
    found = set()
    for level in LEVELS:
        parent = pods_cgroup(cluster_cgroup, level)
        for folder in hierarchies(parent):
            found |= {f"{parent}/{p.name}" for p in folder.glob("pod*") if p.name.removeprefix("pod") not in known}
    return found


def hierarchies(cgroup: str) -> Iterator[Path]:
    for root in [ROOT] if is_v2() else sorted(path for path in ROOT.iterdir() if path.is_dir()):
        if (folder := root / cgroup.lstrip("/")).is_dir():
            yield folder


def remove_cgroups(cluster_cgroup: str, known: Collection[str]) -> None:
    """Remove the cgroups of pods that are not known, where nothing runs in them."""
    for cgroup in sorted(cgroups(cluster_cgroup, known)):
        pod_cgroups.remove(cgroup)
