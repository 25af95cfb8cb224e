"""Where a plugin that Envoy calls tells its counters: a Unix socket, and a thread that waits there for who asks.

It speaks as much HTTP as ``sampan gateway plugins`` needs, as the sockets of plugins' processes do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from sampan.gateway.plugins.counters import Counters

PATIENCE_SECONDS = 2.0
LARGEST_QUESTION = 16_384


class CountersSocket:
    """Listens until it is closed. Another version's takes its place by the same path."""

    def __init__(self, path: str, counters: Counters) -> None:
        self._path, self._counters = Path(path), counters
        self._listening = socket.socket(socket.AF_UNIX)
        fresh = Path(f"{path}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        self._listening.bind(str(fresh))
        self._listening.listen()
        self._inode = fresh.stat().st_ino
        fresh.replace(path)
        threading.Thread(target=self._serve, name=f"counters-{counters.key}", daemon=True).start()

    def close(self) -> None:
        """End it; the path goes, where it is not another's by now."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it

    def _serve(self) -> None:
        with self._listening:
            while True:
                try:
                    connection, _ = self._listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        question = b""
        while b"\r\n\r\n" not in question and len(question) < LARGEST_QUESTION:
            piece = connection.recv(LARGEST_QUESTION)
            if not piece:
                return
            question += piece
        connection.sendall(self._counters.http_report())
