"""Databases that Middlewares name by path: each is judged, copied for Envoy, and followed.

    Middlewares ──want──▶ Databases ──inotify, check──▶ copy in our folder ──▶ Envoy
                              └──copy, problem──▶ World

Envoy gets a copy that we have judged, since it ends with a file that it cannot open; it reads a copy again when another
takes its name. A file that becomes none leaves the copy before in service.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from sampan.gateway.maxmind import NoDatabase, check
from sampan.node.inotify import changes_of

logger = logging.getLogger("sampan.gateway")

AGAIN_SECONDS = 5.0
"""How long before a folder that is not there is looked for again."""
OnRead = Callable[[str, "str | None", str], None]
"""``(path, copy or None while there is none, problem)``; both empty: nobody wants it any more."""


class Databases:
    def __init__(self, folder: Path, on_read: OnRead, group: asyncio.TaskGroup) -> None:
        self._folder, self._on_read, self._group = folder, on_read, group
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, asyncio.Event] = {}

    def want(self, paths: set[str]) -> None:
        """Follow these, and no others."""
        for path in self._tasks.keys() - paths:
            self._tasks.pop(path).cancel()
            self._tried.pop(path).set()
            self._on_read(path, None, "")
        for path in paths - self._tasks.keys():
            self._tried[path] = asyncio.Event()
            self._tasks[path] = self._group.create_task(self._follow(path), name=f"database-{path}")

    async def tried(self) -> None:
        """Return when each was looked at once."""
        for event in list(self._tried.values()):
            await event.wait()

    async def _follow(self, path: str) -> None:
        kept: str | None = None
        tried, seen = self._tried[path], None
        while True:
            try:
                async with changes_of(Path(path).parent) as changed:
                    while True:
                        changed.clear()
                        status = await asyncio.to_thread(os.stat, path)
                        if (now := (status.st_mtime_ns, status.st_size, status.st_ino)) != seen:
                            kept, seen = await asyncio.to_thread(self._copy, path), now
                            self._on_read(path, kept, "")
                            tried.set()
                        await changed.wait()
            except (OSError, NoDatabase) as error:
                problem = str(error) if isinstance(error, NoDatabase) else str(error.strerror or error)
                logger.warning("database %s: %s", path, problem)
                seen = None
                self._on_read(path, kept, problem)
                tried.set()
            await asyncio.sleep(AGAIN_SECONDS)

    def _copy(self, path: str) -> str:
        """Copy a database for Envoy, and return where it is. Raises ``OSError``, ``NoDatabase``."""
        content = Path(path).read_bytes()
        check(content)
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.mmdb"
        aside = place.with_suffix(".new")
        aside.write_bytes(content)
        aside.rename(place)
        return str(place)
