"""The keeper: the one process that a laboratory is held by. It is the first process of a process namespace of its own, so
when it ends, in whatever way, the kernel ends every program of the laboratory and removes every namespace.

    up ──fork──▶ claims the socket, enters its namespaces ──fork──▶ keeper: builds, checks, starts services, says so, serves

Without root it enters a user namespace first, in which it is root. Source: pid_namespaces(7), user_namespaces(7), unix(7).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from sampan.lab import address, calls
from sampan.lab.errors import LabError
from sampan.lab.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MS_PRIVATE,
    MS_REC,
    mount,
    unshare,
)
from sampan.lab.plan import Plan
from sampan.lab.planning import plan
from sampan.lab.reading import read
from sampan.lab.topology import Topology

NEEDS = "run it as root, or allow users their own namespaces"


@dataclass(frozen=True, slots=True)
class Options:
    name: str
    check: bool = True
    lifeline: int = -1
    """A descriptor whose other end the owner holds: when that is closed, the laboratory ends."""
    cwd: str = "/"


def fork(topology: Topology, options: Options) -> dict[str, Any]:
    """Start a keeper as a fork of this process, which must have one thread; return what it says once it is ready.

    Raises ``LabError``; nothing is left of what was half made."""
    planned = plan(topology)
    ours, theirs = socket.socketpair()
    uid = os.getuid()
    listener = address.claim(options.name, uid)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _become_keeper(planned, options, listener, calls.Line(theirs))
    theirs.close()
    listener.close()
    os.waitpid(pid, 0)
    return _ready(ours, options.name)


def _ready(channel: socket.socket, name: str) -> dict[str, Any]:
    line = calls.Line(channel)
    with contextlib.closing(line):
        try:
            message, _ = line.receive()
        except EOFError:
            raise LabError(f"the keeper of laboratory {name!r} ended before it was ready") from None
        calls.refused(message)
        return message


def _become_keeper(planned: Plan, options: Options, listener: socket.socket, line: calls.Line) -> NoReturn:
    """In the forked child: become the first process of new namespaces. Its parent goes when that is running."""
    code = 1
    try:
        os.setsid()
        try:
            _enter_namespaces()
        except OSError as error:
            raise LabError(f"namespaces are refused: {error.strerror}", NEEDS) from error
        told, tell = os.pipe()
        pid = os.fork()
        if pid:
            os.write(tell, str(pid).encode())
            os._exit(0)
        os.close(tell)
        from sampan.lab import keeping

        # its number out here; in its own namespace it is 1
        keeping.keep(planned, options, listener, line, int(os.read(told, 20)))
        code = 0
    except LabError as error:
        with contextlib.suppress(OSError):
            line.send(calls.failure(error))
    except BaseException as error:
        with contextlib.suppress(OSError):
            line.send({"error": f"the keeper failed: {type(error).__name__}: {error}"})
    finally:
        os._exit(code)


def _enter_namespaces() -> None:
    # the network, too: one can only come back to a namespace that is one's own
    own = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a root without capabilities, in a container, is like any user
            unshare(own)
            return
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")
    unshare(own)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def settle() -> None:
    """In the new process namespace: show it in /proc, let no mount reach the machine."""
    mount("none", "/", MS_REC | MS_PRIVATE)
    try:
        mount("proc", "/proc", 0, "proc")
    except OSError as error:
        raise LabError(
            f"/proc cannot be mounted in the laboratory's namespaces: {error.strerror}",
            "a container that hides parts of /proc does not allow it: start it with --privileged or as root outside",
        ) from error
    from sampan.lab.programs import prepare_layers

    prepare_layers()


def detach() -> None:
    """Let go of the terminal and of the caller's signals, and of the limit for descriptors: a node takes four."""
    from sampan.lab.programs import DESCRIPTORS

    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS[1], DESCRIPTORS[1]))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def main() -> int:
    """Be a keeper in a process of its own, the way of a process that has threads and must not fork: reads the topology as
    JSON from standard input; descriptors are named by the arguments: the channel to tell, the lifeline."""
    given = json.load(sys.stdin)
    channel = socket.socket(fileno=int(sys.argv[1]))
    line = calls.Line(channel)
    try:
        topology = read(given["topology"]["topology"], given["topology"]["name"], given["topology"]["source"])
        options = Options(given["name"] or topology.name, given["check"], int(sys.argv[2]), given["cwd"])
        planned = plan(topology)
        listener = address.claim(options.name, os.getuid())
    except LabError as error:
        line.send(calls.failure(error))
        return 1
    _become_keeper(planned, options, listener, line)
