"""The cluster's own network and mount namespace: everything it makes in either goes when they go.

The supervisor enters them before it starts anything, so that all parts, containerd and the pods are inside. They are
pinned by bind mounts in the host's mount namespace (``<run>/ns/net``, ``<run>/ns/mnt``, on a private tmpfs, because a
mount namespace cannot be pinned where its pin would propagate back into it), so that ``up`` after a crash finds the
pods that still run. Source: namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from pathlib import Path

from sampan.cluster.settings import Settings

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
NS_GET_MNTNS_ID = 0x8008B705
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UNIFIED = Path("/sys/fs/cgroup/unified")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        None,
    )


def unmount(target: str) -> None:
    _call("umount2", target.encode(), MNT_DETACH)


def is_pinned(path: Path) -> bool:
    """Whether a namespace is mounted on the file (its filesystem is nsfs, and so of another device)."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except OSError:
        return False


def prepare_pins(settings: Settings) -> None:
    """Make the private folder that pins live in. Called in the host's namespaces."""
    folder = settings.netns_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(folder):
        mount("tmpfs", str(folder), 0, "tmpfs")
        mount("none", str(folder), MS_PRIVATE)


def enter(settings: Settings) -> bool:
    """Enter the pinned namespaces, or new ones; return whether they are new. Called in the process that becomes the
    supervisor, which must have one thread only."""
    if is_pinned(settings.netns_path) and is_pinned(settings.mntns_path):
        for path, kind in ((settings.netns_path, CLONE_NEWNET), (settings.mntns_path, CLONE_NEWNS)):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _call("setns", descriptor, kind)
            finally:
                os.close(descriptor)
        return False
    _call("unshare", CLONE_NEWNET)
    unshare_mounts()
    # the host's later mounts come in (hostPath volumes want them), ours stay inside
    mount("none", "/", MS_REC | MS_SLAVE)
    # and go on into containers whose mountPropagation asks for that; those of Bidirectional ones come to us
    mount("none", "/", MS_REC | MS_SHARED)
    if any(os.access(f"{folder}/crun", os.X_OK) for folder in os.get_exec_path()) and has_leftover_controllers():
        unmount(str(UNIFIED))
    return True


def join(pid: int) -> None:
    """Enter the namespaces of a process; this one must have one thread only."""
    kinds = {"net": CLONE_NEWNET, "mnt": CLONE_NEWNS}
    descriptors = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in kinds}
    for name, descriptor in descriptors.items():
        _call("setns", descriptor, kinds[name])
        os.close(descriptor)


def has_leftover_controllers(unified: Path = UNIFIED) -> bool:
    """Whether this machine has cgroup v1 and, in its v2 tree beside that, a controller that no v1 hierarchy has (hugetlb,
    say). crun makes no container there; where the tree is not in sight, it works as on v1, which is all that pods use here.
    """
    try:
        return unified.is_mount() and bool((unified / "cgroup.controllers").read_text().strip())
    except OSError:
        return False


def unshare_mounts() -> None:
    """Leave the present mount namespace for a new one that can be pinned in it.

    Linux refuses (EINVAL) to bind a mount namespace inside one whose number is higher, so that none keeps itself alive. From
    6.18 on each CPU takes its numbers from a range of its own, so that a younger namespace may have a lower one: then the
    next CPU is tried; that on which the present one was made always has a higher number. Source: mnt_ns_loop in Linux."""
    outer, allowed = mount_namespace_number(), os.sched_getaffinity(0)
    for cpu in (None, *sorted(allowed)):
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        _call("unshare", CLONE_NEWNS)
        if outer is None or (mount_namespace_number() or 0) > outer:
            break
    os.sched_setaffinity(0, allowed)


def mount_namespace_number() -> int | None:
    """Return the number of this process's mount namespace; None where the kernel does not tell (before 6.11)."""
    descriptor = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, NS_GET_MNTNS_ID, bytes(8)), sys.byteorder)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def pin(settings: Settings, pid: int) -> None:
    """Pin the namespaces of a process. Called in the host's namespaces."""
    for path, name in ((settings.netns_path, "net"), (settings.mntns_path, "mnt")):
        path.touch()
        mount(f"/proc/{pid}/ns/{name}", str(path), MS_BIND)


def unpin_files(settings: Settings) -> None:
    """Unmount the pins and remove their files."""
    for path in (settings.mntns_path, settings.netns_path):
        if is_pinned(path):
            unmount(str(path))
        path.unlink(missing_ok=True)


def unpin(settings: Settings) -> None:
    """Let the namespaces go; what they hold goes with their last process."""
    unpin_files(settings)
    folder = settings.netns_path.parent
    if os.path.ismount(folder):
        unmount(str(folder))
