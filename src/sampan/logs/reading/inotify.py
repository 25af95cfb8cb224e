"""Changes in many folders by one inotify descriptor, as names. Source: inotify(7)."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED = 0x4000, 0x8000
EVERYTHING = MODIFY | MOVED_FROM | MOVED_TO | CREATE | DELETE
NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
EVENT = struct.Struct("iIII")
READ_BYTES = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class Watches:
    """Folders that are watched. ``descriptor`` is readable when something has happened; ``read`` says what."""

    def __init__(self) -> None:
        """Raises ``OSError`` where the system has no inotify to give."""
        self.descriptor = _libc.inotify_init1(NONBLOCK_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._folders: dict[int, str] = {}
        self._known: dict[str, int] = {}

    def add(self, folder: str) -> None:
        """Watch a folder. Raises ``OSError``: ENOSPC where the user has no more watches."""
        if folder in self._known:
            return
        number = _libc.inotify_add_watch(self.descriptor, os.fsencode(folder), EVERYTHING)
        if number < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot watch: {os.strerror(error)}", folder)
        self._folders[number], self._known[folder] = folder, number

    def read(self) -> tuple[set[str], bool]:
        """Return the paths that were written to, and whether files came, went or were renamed (or events were lost)."""
        written: set[str] = set()
        moved = False
        while True:
            try:
                data = os.read(self.descriptor, READ_BYTES)
            except BlockingIOError:
                return written, moved
            at = 0
            while at < len(data):
                watch, mask, _, size = EVENT.unpack_from(data, at)
                name = data[at + EVENT.size : at + EVENT.size + size].rstrip(b"\0")
                at += EVENT.size + size
                if mask & IGNORED:
                    self._known.pop(self._folders.pop(watch, ""), None)
                moved = moved or bool(mask & ~MODIFY)
                if mask & MODIFY and watch in self._folders:
                    written.add(str(Path(self._folders[watch]) / os.fsdecode(name)))

    def close(self) -> None:
        os.close(self.descriptor)
