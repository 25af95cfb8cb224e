"""What the kernel says of a process: ``/proc/PID/status``, its namespaces, cgroups and mounts. Source: proc(5)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sampan.security.capabilities import of_mask
from sampan.security.table import Process

PROC = Path("/proc")


class Mounted(NamedTuple):
    """A line of mountinfo."""

    root: str
    target: str
    read_only: bool
    filesystem: str
    source: str
    options: str
    """The filesystem's own (overlayfs: its layers)."""


def read_status(folder: Path) -> dict[str, str]:
    """Return the fields of ``status`` of a folder of /proc. Raises ``OSError`` where the process is gone."""
    lines = (folder / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def read_namespaces(folder: Path) -> dict[str, int]:
    """Return the inode of each namespace by its kind: ``net``, ``pid``, ``mnt``, …"""
    found = {}
    for link in sorted((folder / "ns").iterdir()):
        if not link.name.endswith("_for_children"):
            found[link.name] = link.stat().st_ino
    return found


def read_cgroups(folder: Path) -> dict[str, str]:
    """Return the cgroup of each controller; that of cgroup v2 under ``""``."""
    found = {}
    for line in (folder / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def read_mounts(folder: Path) -> list[Mounted]:
    """Return the mounts of a process's mount namespace, in the order in which they were made."""
    found = []
    for line in (folder / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, (filesystem, source, options) = left.split(), right.split(" ", 2)
        plain = [unescaped(word) for word in (fields[3], fields[4], source)]
        read_only = "ro" in fields[5].split(",")
        found.append(Mounted(plain[0], plain[1], read_only, filesystem, plain[2], options))
    return found


def unescaped(word: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, character)
    return word


def read_process(pid: int, node: Path, sandbox_pid: int, netns: Path | None = None, proc: Path = PROC) -> Process:
    """Return what the kernel says of a container's first process. ``node``: a folder of /proc of a process of the node;
    ``netns``: the node's network namespace where that process is in another; ``sandbox_pid``: 0 where the runtime keeps no
    process for a sandbox (CRI-O). Raises ``OSError`` when one is gone."""
    folder = proc / str(pid)
    status = read_status(folder)
    uids, gids = read_id_map(folder, "uid"), read_id_map(folder, "gid")
    mounts = read_mounts(folder)
    root = next(mount for mount in mounts if mount.target == "/")
    node_namespaces = read_namespaces(node)
    if netns is not None:
        node_namespaces["net"] = netns.stat().st_ino
    return Process(
        pid=pid,
        uid=inside(int(status["Uid"].split()[1]), uids),
        gid=inside(int(status["Gid"].split()[1]), gids),
        groups=frozenset(inside(int(group), gids) for group in status["Groups"].split()),
        effective=of_mask(int(status["CapEff"], 16)),
        bounding=of_mask(int(status["CapBnd"], 16)),
        no_new_privileges=status.get("NoNewPrivs") == "1",
        seccomp=status.get("Seccomp", "0") != "0",
        namespaces=read_namespaces(folder),
        node_namespaces=node_namespaces,
        sandbox_namespaces=read_namespaces(proc / str(sandbox_pid)) if sandbox_pid else {},
        read_only_root=root.read_only,
        mounted_over=frozenset(mount.target for mount in mounts if mount.target.startswith(("/proc/", "/sys/"))),
        app_armor=label(folder),
    )


def read_id_map(folder: Path, kind: str) -> list[tuple[int, int, int]]:
    """Return how a process's user namespace numbers users or groups (``uid``, ``gid``): first inside, first outside, how
    many. Source: user_namespaces(7)."""
    found = []
    for line in (folder / f"{kind}_map").read_text().splitlines():
        first, outside, length = (int(word) for word in line.split())
        found.append((first, outside, length))
    return found


def inside(id: int, mapping: list[tuple[int, int, int]]) -> int:
    """Return an id of the node as the user namespace has it; one that it does not have stays what it is."""
    for first, outside, length in mapping:
        if outside <= id < outside + length:
            return id - outside + first
    return id


def label(folder: Path) -> str:
    """Return the AppArmor profile of a process, "" where the kernel has no AppArmor."""
    try:
        return (folder / "attr/apparmor/current").read_text().strip("\0\n")
    except OSError:
        return ""


LIMITS = {"": ("memory.max", "cpu.max", "cpu.weight", "pids.max"), "memory": ("memory.limit_in_bytes",),
          "cpu": ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"), "pids": ("pids.max",)}  # fmt: skip
"""Files that hold a cgroup's limits, by controller; of cgroup v2 under ``""``."""


def read_limits(cgroups: Mapping[str, str], root: Path = Path("/sys/fs/cgroup")) -> dict[str, str]:
    """Return the limits of a process's cgroups, by the files that hold them; those that the machine has."""
    found = {}
    for controller, files in LIMITS.items():
        if controller in cgroups:
            folder = root / controller / cgroups[controller].lstrip("/")
            for name in files:
                with contextlib.suppress(OSError):
                    found[name] = (folder / name).read_text().strip()
    return found
