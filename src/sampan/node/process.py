"""What the kernel says of a process: ``/proc/PID/status``, its namespaces, cgroups and mounts. Source: proc(5)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


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
