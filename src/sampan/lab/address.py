"""Where a laboratory is found: an abstract Unix socket of its keeper, named after the user and the laboratory.

Such a socket is no file: it is there as long as the keeper lives and goes with it, so there is nothing stale to be found and
nothing to be cleaned up. It has no permissions either, so both sides ask the kernel who the other one is (``SO_PEERCRED``).
Source: unix(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from pathlib import Path

from sampan.lab.errors import LabError

PREFIX = "sampan-lab"
LISTED = re.compile(rf"@{PREFIX}/(\d+)/([a-zA-Z0-9-]+)$")


def path_of(name: str, uid: int) -> str:
    return f"\0{PREFIX}/{uid}/{name}"


def running(uid: int | None = None) -> list[str]:
    """Return the names of a user's laboratories that run, sorted."""
    wanted = os.getuid() if uid is None else uid
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines():
        match = LISTED.search(line)
        if match and int(match[1]) == wanted:
            found.add(match[2])
    return sorted(found)


def claim(name: str, uid: int) -> socket.socket:
    """Return the listening socket of a laboratory. Raises ``LabError`` when one of the name runs."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(path_of(name, uid))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise LabError(f"laboratory {name!r} cannot have its socket: {error}") from error
        raise LabError(
            f"laboratory {name!r} runs already",
            f"`sampan lab apply` changes it, `sampan lab down {name}` removes it, `up --name` starts another one",
        ) from error
    listener.listen(128)
    return listener


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user of the other side."""
    pid, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def connect(name: str, uid: int | None = None) -> socket.socket:
    """Return a connection to a laboratory's keeper. Raises ``LabError`` when none of the name runs."""
    owner = os.getuid() if uid is None else uid
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(path_of(name, owner))
    except OSError as error:
        connection.close()
        there = ", ".join(running(owner))
        hint = f"there runs {there}" if there else "none runs: `sampan lab up FILE` starts one"
        raise LabError(f"no laboratory {name!r} runs", hint) from error
    if peer(connection)[1] not in (owner, 0):
        with contextlib.closing(connection):
            raise LabError(f"laboratory {name!r}: its socket is held by user {peer(connection)[1]}, not {owner}")
    return connection
