"""gRPC to a Unix socket whose path may be longer than the kernel takes.

A socket's address holds 107 bytes, and a plugin's socket lies below the cluster's state under a name of the plugin's own. A
longer path is reached by a descriptor of its folder, opened for each connection: the folder may be made anew in between.
Source: unix(7), proc_pid_fd(5).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from grpclib.client import Channel
from grpclib.protocol import H2Protocol

MOST_BYTES = 107


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """Give a path by which a socket can be reached or made now. Raises ``OSError``: there is no such folder, or the socket's
    own name is too long."""
    if len(os.fsencode(path)) <= MOST_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = f"/proc/self/fd/{folder}/{path.name}"
        if len(os.fsencode(found)) > MOST_BYTES:
            raise OSError(errno.ENAMETOOLONG, f"the socket's name has more than {MOST_BYTES} bytes", str(path))
        yield found
    finally:
        os.close(folder)


class UnixChannel(Channel):  # type: ignore[misc]
    """A channel to the socket at ``path``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path=str(path))
        self._whole = path

    async def _create_connection(self) -> H2Protocol:
        with short(self._whole) as found:
            self._path = found
            return await super()._create_connection()
