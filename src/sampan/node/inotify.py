"""Changes of the files in a folder, by the kernel's inotify, as an event of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
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


async def first_of(events: Sequence[asyncio.Event]) -> None:
    """Return when one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def quiet(events: Sequence[asyncio.Event], seconds: float) -> None:
    """Return when none of them was set for so long."""
    while any(event.is_set() for event in events):
        for event in events:
            event.clear()
        await asyncio.sleep(seconds)
