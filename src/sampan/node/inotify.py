"""Changes of the files in a folder, by the kernel's inotify, as an event of the loop. Source: inotify(7)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


@asynccontextmanager
async def changes_of(folder: Path) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set whenever something in the folder changes. Raises ``OSError``."""
    descriptor = _libc.inotify_init1(NONBLOCK_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def on_readable() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 65536)
        changed.set()

    try:
        mask = MODIFY | MOVED_FROM | MOVED_TO | CREATE | DELETE
        if _libc.inotify_add_watch(descriptor, str(folder).encode(), mask) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot watch {folder}: {os.strerror(number)}")
        loop.add_reader(descriptor, on_readable)
        yield changed
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
