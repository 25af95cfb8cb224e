"""Connections to what a runtime serves on TCP: its streaming server listens on the loopback interface of *its* network.

A runtime that was there before the cluster lives in the host's network, this node in the cluster's. Who serves CRI's socket
is asked of the kernel, and the connection is made from the network of that process. Source: unix(7) SO_PEERCRED, setns(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from sampan.network.netns import entered
from sampan.node.unix_channel import short

OWN = Path("/proc/self/ns/net")
CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: pid, uid, gid."""


def server_of(unix_socket: Path) -> int:
    """Return the pid of the process that listens on a Unix socket; 0 where it is out of our sight. Raises ``OSError``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asked, short(unix_socket) as path:
        asked.connect(path)
        found = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(found)[0])


@contextlib.contextmanager
def network_of(unix_socket: Path) -> Iterator[None]:
    """Have this thread in the network of the process behind a Unix socket, for a block that must not await. Raises
    ``OSError``."""
    pid = server_of(unix_socket)
    theirs = Path(f"/proc/{pid}/ns/net")
    if not pid or theirs.stat().st_ino == OWN.stat().st_ino:
        yield
        return
    netns = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(netns):
            yield
    finally:
        os.close(netns)


async def dial(host: str, port: int, runtime: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to an address in the network of the runtime behind ``runtime``. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    with network_of(runtime):  # a socket stays in the network that it was made in
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        await loop.sock_connect(made, address)
        return await asyncio.open_connection(sock=made)
    except BaseException:
        made.close()
        raise
