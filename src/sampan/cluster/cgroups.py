"""The cluster's cgroup in every hierarchy, v1 or v2: make it, put processes in, end all of them, remove it.

``/sampan/<name>/system`` holds our processes and containerd's shims, ``/sampan/<name>/kubepods`` the pods. On a hybrid
machine every v1 controller is a hierarchy of its own; cpuset is left to the runtime, which must fill it in first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")
KILL_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Return the root folder of every cgroup hierarchy of this machine (one on v2)."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    if not ROOT.is_dir():
        return []
    return sorted(path for path in ROOT.iterdir() if path.is_dir() and (path / "cgroup.procs").exists())


def create(cgroup: str, *pids: int) -> None:
    """Make ``<cgroup>/system`` everywhere and put processes into it. Raises ``OSError``."""
    for root in hierarchies():
        if root.name == "cpuset":
            continue
        folder = root / cgroup.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if root == ROOT:
            _delegate(root, folder)
        system = folder / "system"
        system.mkdir(exist_ok=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # one that has ended is followed by another
                (system / "cgroup.procs").write_text(str(pid))


def _delegate(root: Path, folder: Path) -> None:
    """Let the children of every cgroup on the way have the controllers there are (v2)."""
    available = (root / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{name}" for name in V2_CONTROLLERS if name in available)
    on_the_way = [root, *reversed([path for path in folder.parents if root in path.parents]), folder]
    for path in on_the_way:
        try:
            (path / "cgroup.subtree_control").write_text(wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # the root of a container's cgroup namespace holds the container's processes, and only a cgroup without any may
            # have controllers for its children: they go to a leaf, as docker-in-docker does it
            _move_to_leaf(path)
            (path / "cgroup.subtree_control").write_text(wanted)


def _move_to_leaf(path: Path) -> None:
    leaf = path / "init"
    leaf.mkdir(exist_ok=True)
    for pid in (path / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it ended, or is a kernel thread
            (leaf / "cgroup.procs").write_text(pid)


def members(cgroup: str) -> set[int]:
    """Return the pids of every process in the cgroup and below it, in any hierarchy."""
    pids: set[int] = set()
    for folder in _folders(cgroup):
        try:
            pids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        except OSError:
            continue  # it went while we looked
    pids.discard(0)  # a process of another pid namespace
    return pids


def kill(cgroup: str, spared: str = "", outside: str = "") -> None:
    """End every process of the cgroup with SIGKILL and wait until they are gone; those whose program begins with
    ``spared`` live on, and those that a hierarchy has in the cgroup ``outside``: a pod's are in the system's in a v2 tree
    that is out of the runtime's sight. Raises ``TimeoutError`` naming those that will not go."""

    def doomed() -> set[int]:
        pids = members(cgroup) - {os.getpid()}
        pids -= members(outside) if pids and outside else set()
        return {pid for pid in pids if not _is(pid, spared)}

    deadline = time.monotonic() + KILL_SECONDS
    while pids := doomed():
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {cgroup} do not end: {sorted(pids)}")
        watched = [descriptor for pid in pids if (descriptor := _kill(pid)) is not None]
        _wait_gone(watched, 1.0)


def _is(pid: int, program: str) -> bool:
    try:
        return bool(program) and Path(f"/proc/{pid}/comm").read_text().startswith(program)
    except OSError:
        return False


def _kill(pid: int) -> int | None:
    """Kill one process; return a pidfd that becomes readable when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        os.close(descriptor)
        return None
    return descriptor


def _wait_gone(descriptors: Iterable[int], seconds: float) -> None:
    import select

    deadline = time.monotonic() + seconds
    poller = select.poll()
    open_ones = set(descriptors)
    for descriptor in open_ones:
        poller.register(descriptor, select.POLLIN)
    while open_ones and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            poller.unregister(descriptor)
            os.close(descriptor)
            open_ones.discard(descriptor)
    for descriptor in open_ones:
        os.close(descriptor)


def remove(cgroup: str) -> None:
    """Remove the cgroup and everything below it, deepest first; the processes must be gone."""
    for folder in _folders(cgroup):
        for _ in range(50):
            try:
                folder.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)  # the kernel lets a cgroup go a moment after its last process
    parent = cgroup.rpartition("/")[0].lstrip("/")
    for root in hierarchies():
        try:
            (root / parent).rmdir()
        except OSError:
            continue  # another cluster is in it


def _folders(cgroup: str) -> list[Path]:
    """Return the cgroup's folders in every hierarchy, deepest first."""
    found: list[Path] = []
    for root in hierarchies():
        top = root / cgroup.lstrip("/")
        for folder, _, _ in os.walk(top, topdown=False):
            found.append(Path(folder))
    return found
