"""Changes of the files in a folder, by the kernel's inotify, as an event of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sampan.logs.reading.inotify import Watches


@asynccontextmanager
async def changes_of(folder: Path) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set whenever something in the folder changes. Raises ``OSError``."""
    watches = Watches()
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def on_readable() -> None:
        watches.read()
        changed.set()

    try:
        watches.add(str(folder))
        loop.add_reader(watches.descriptor, on_readable)
        yield changed
    finally:
        loop.remove_reader(watches.descriptor)
        watches.close()
