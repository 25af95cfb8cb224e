"""Programs in nodes: each sees the node's links, its own host name and files, and the machine's file system otherwise.

A node's mount and host-name namespace is made when its first program starts: ``/etc`` and the folders of its ``files`` are
overlays, so that a program writes there without the machine or another node seeing it; ``/run`` is empty; ``/sys`` shows the
node's links. The layers are on a tmpfs that only the laboratory sees and that goes with it.
Source: mount_namespaces(7), overlayfs (Documentation/filesystems/overlayfs.rst), uts_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from sampan.lab.errors import LabError
from sampan.lab.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_REC,
    call,
    mount,
    setns,
    unshare,
)
from sampan.lab.plan import PlannedNode

LAYERS = Path("/dev/shm")
"""Where the laboratory's tmpfs is mounted in its own mount namespace; each node gets an empty one there in turn."""
EMPTY = {"/run": "mode=755"}
"""Folders that begin empty in every node, with the options of their tmpfs."""
CGROUPS = "/sys/fs/cgroup"
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)
"""How many descriptors a process may have, soft and hard: the keeper takes more, programs get these again."""
NOT_FOUND, NOT_RUNNABLE = 127, 126
"""Exit codes of shells (POSIX 2.8.2)."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP, signal.SIGXFSZ)


class World(NamedTuple):
    """The namespaces of a node's programs."""

    net: int
    mount: int
    uts: int

    def enter(self) -> None:
        setns(self.net, CLONE_NEWNET)
        setns(self.uts, CLONE_NEWUTS)
        setns(self.mount, CLONE_NEWNS)

    def close(self) -> None:
        """Let go of what this module made; the network is the fabric's."""
        os.close(self.mount)
        os.close(self.uts)


def prepare_layers() -> None:
    """Mount the tmpfs of the laboratory. Called once, in its mount namespace."""
    mount("sampan-lab", str(LAYERS), 0, "tmpfs")


def folders_of(node: PlannedNode) -> list[str]:
    """Return the folders that are laid over for a node: ``/etc``, and for each file the nearest folder that exists.

    Raises ``LabError`` for a file that would need one in ``/``."""
    found = ["/etc"]
    for file in node.files:
        if any(file.path.startswith(f"{empty}/") for empty in EMPTY):
            continue
        folder = next(str(parent) for parent in Path(file.path).parents if parent.is_dir())
        if folder == "/":
            raise LabError(
                f"node {node.name}: the file {file.path} cannot be made: this machine has no folder above it but /",
                "put it below a folder that exists, such as /etc, /run or /srv",
            )
        if not any(folder == there or folder.startswith(f"{there}/") for there in found):
            found.append(folder)
    return found


def forget_layers(name: str) -> None:
    """Remove what programs of a node wrote over the machine's files, once none of them runs."""
    shutil.rmtree(LAYERS / "nodes" / name, ignore_errors=True)


def new_world(node: PlannedNode, hosts: str, netns: int) -> World:
    """Make the namespaces of a node's programs. Raises ``LabError``."""
    folders = folders_of(node)
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _in_child(theirs, node, hosts, folders, netns)
    theirs.close()
    with mine:
        said, descriptors, _, _ = socket.recv_fds(mine, 4096, 2)
    os.waitpid(pid, 0)
    if len(descriptors) != 2:
        raise LabError(f"node {node.name}: its files cannot be laid out: {said.decode(errors='replace')}")
    return World(netns, descriptors[0], descriptors[1])


def _in_child(channel: socket.socket, node: PlannedNode, hosts: str, folders: Sequence[str], netns: int) -> NoReturn:
    try:
        unshare(CLONE_NEWNS | CLONE_NEWUTS)
        setns(netns, CLONE_NEWNET)
        _set_host_name(node.name)
        _lay_out(node, hosts, folders)
        made = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("mnt", "uts")]
        socket.send_fds(channel, [b"made"], made)
    except BaseException as error:
        with contextlib.suppress(OSError):
            channel.send(str(error).encode()[:4000])
    finally:
        os._exit(0)


def _set_host_name(name: str) -> None:
    call("sethostname", name.encode(), len(name.encode()))


def _lay_out(node: PlannedNode, hosts: str, folders: Sequence[str]) -> None:
    layers = LAYERS / "nodes" / node.name
    resolver = Path("/etc/resolv.conf").read_bytes() if Path("/etc/resolv.conf").exists() else b""
    for number, folder in enumerate(folders):
        upper, work = layers / f"upper{number}", layers / f"work{number}"
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(exist_ok=True)
        upper.chmod(Path(folder).stat().st_mode & 0o7777)
        options = f"lowerdir={folder},upperdir={upper},workdir={work}"
        try:
            mount("overlay", folder, 0, "overlay", options)
        except OSError:  # in a user namespace overlayfs keeps its notes elsewhere
            mount("overlay", folder, 0, "overlay", f"{options},userxattr")
    for folder, options in EMPTY.items():
        if Path(folder).is_dir():
            mount("tmpfs", folder, 0, "tmpfs", options)
    own = {
        "/etc/hosts": hosts,
        "/etc/hostname": f"{node.name}\n",
        "/etc/resolv.conf": resolver.decode(errors="replace"),
    }
    for name, text in own.items():
        Path(name).unlink(missing_ok=True)
        Path(name).write_text(text)
    for file in node.files:
        path = Path(file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(file.content)
        path.chmod(file.mode)
    with contextlib.suppress(OSError):  # a container may not show it: then /sys is the machine's
        _mount_sys()
    mount("tmpfs", str(LAYERS), 0, "tmpfs", "mode=1777")


def _mount_sys() -> None:
    """Show the node's links below /sys, and the cgroups that a new sysfs would hide."""
    kept = os.open(CGROUPS, os.O_PATH | os.O_CLOEXEC) if os.path.ismount(CGROUPS) else -1
    mount("sysfs", "/sys", 0, "sysfs")
    if kept >= 0:
        with contextlib.suppress(OSError):
            mount(f"/proc/self/fd/{kept}", CGROUPS, MS_BIND | MS_REC)
        os.close(kept)


def enter(descriptors: Sequence[int]) -> None:
    """Enter a node from outside with what the keeper gives: user, pid, net, uts, mount. The next child is a process there.

    Called in a process of one thread."""
    user, pid, net, uts, mounts = descriptors
    if os.fstat(user).st_ino != Path("/proc/self/ns/user").stat().st_ino:
        setns(user, CLONE_NEWUSER)
    setns(pid, CLONE_NEWPID)
    setns(net, CLONE_NEWNET)
    setns(uts, CLONE_NEWUTS)
    setns(mounts, CLONE_NEWNS)
    for descriptor in descriptors:
        os.close(descriptor)


def spawn(
    world: World,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    stdio: Sequence[int],
) -> int:
    """Start a program in a node; return its pid once it runs there. What cannot be run ends with 126 or 127 and says why on
    its standard error.

    Called in a process of one thread."""
    entering, entered = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(entering)
        try:
            os.setsid()
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            world.enter()
            for target, source in enumerate(stdio):
                os.dup2(source, target)
            become(command, env, cwd)
        except BaseException as error:
            os.write(2, f"sampan lab: {error}\n".encode())
        finally:
            os._exit(NOT_RUNNABLE)
    os.close(entered)
    os.read(entering, 1)  # it is closed by exec, or by the end
    os.close(entering)
    return pid


def become(command: Sequence[str], env: Mapping[str, str], cwd: str) -> NoReturn:
    """Make this process the program. What cannot be run ends it with 126 or 127."""
    try:
        os.chdir(cwd)
    except OSError:
        os.chdir("/")
    resource.setrlimit(resource.RLIMIT_NOFILE, DESCRIPTORS)
    try:
        os.execvpe(command[0], list(command), dict(env))
    except OSError as error:
        os.write(2, f"sampan lab: {command[0]}: {error.strerror}\n".encode())
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUNNABLE)


def environment(node: PlannedNode, lab: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a node's programs."""
    return {**inherited, "SAMPAN_LAB": lab, "SAMPAN_NODE": node.name, "HOSTNAME": node.name, **dict(node.env)}


def exit_code(status: int) -> int:
    """Return a wait status as shells tell it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
