"""The cgroups that pods live in, in every hierarchy of the machine: made before the runtime needs them, removed after.

On cgroup v1 a cpuset must be filled from its parent before a process can enter it; on v2 the controllers are handed down.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sampan.node.cgroup_limits import ROOT, is_v2

CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")


def create(cgroup: str) -> None:
    """Make a cgroup everywhere, with what its children need."""
    if is_v2():
        path = ROOT
        for part in Path(cgroup.lstrip("/")).parts:
            hand_down(path)
            path = path / part
            path.mkdir(exist_ok=True)
        hand_down(path)
        return
    for root in ROOT.iterdir():
        if (root / "cgroup.procs").exists() and root.name != "unified" and not root.is_symlink():
            (root / cgroup.lstrip("/")).mkdir(parents=True, exist_ok=True)
    if (ROOT / "cpuset").is_dir():
        fill_cpuset(ROOT / "cpuset", cgroup)


def hand_down(path: Path) -> None:
    """Enable the controllers there are for the children of a v2 cgroup."""
    available = (path / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{name}" for name in CONTROLLERS if name in available)
    with contextlib.suppress(OSError):  # a cgroup with processes of its own: it has none to hand down
        (path / "cgroup.subtree_control").write_text(wanted)


def fill_cpuset(root: Path, cgroup: str) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        filled_in(root / cgroup.lstrip("/"), root, name)


def filled_in(path: Path, root: Path, name: str) -> str:
    """Return what a file of a cpuset holds, filled from its nearest ancestor that has something."""
    held = (path / name).read_text()
    if not held.strip() and path != root:
        held = filled_in(path.parent, root, name)
        (path / name).write_text(held)
    return held


def remove(cgroup: str) -> None:
    """Remove a cgroup and what is left below it, where nothing runs in it any more."""
    roots = [ROOT] if is_v2() else [path for path in ROOT.iterdir() if path.is_dir()]
    for root in roots:
        for folder, _, _ in os.walk(root / cgroup.lstrip("/"), topdown=False):
            with contextlib.suppress(OSError):  # a process that is still ending: `down` removes the whole tree
                Path(folder).rmdir()
