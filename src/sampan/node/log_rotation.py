"""Logs of containers kept small: a file that is too large is set aside, the runtime told to open a new one, old files packed.

``0.log`` becomes ``0.log.<time>``; all of these but the newest are compressed (``.gz``), and what is beyond the number of
files is removed. A crash between two steps leaves files that the next round finds. Source: the kubelet's log rotation, CRI
``ReopenContainerLog``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from sampan.node.runtime import Runtime, RuntimeFailure

logger = logging.getLogger("sampan.node")

ROUND_SECONDS = 10.0
PACKED, UNFINISHED = ".gz", ".tmp"


class Log(NamedTuple):
    container_id: str
    path: Path


class Round(NamedTuple):
    """What is to be done with the files of one log that were set aside, oldest first."""

    remove: list[str]
    pack: list[str]


def plan(aside: Iterable[str], most_files: int) -> Round:
    """Return what to do with files that were set aside before the next is. ``most_files``: all of the log's, the open one
    included. Pure."""
    names = sorted(name for name in aside if not name.endswith(UNFINISHED))
    unfinished = [name for name in aside if name.endswith(UNFINISHED)]
    packed = {name.removesuffix(PACKED) for name in names if name.endswith(PACKED)}
    doubled = [name for name in names if name in packed]  # packed, and a crash kept the source from being removed
    whole = [name for name in names if name not in packed]
    kept = max(most_files - 2, 0)  # beside the open one and the one that is set aside next
    old, rest = (whole[:-kept], whole[-kept:]) if kept else (whole, [])
    return Round([*unfinished, *doubled, *old], [name for name in rest if not name.endswith(PACKED)])


class LogRotation:
    """Looks at the logs of running containers (``logs``) every ten seconds."""

    def __init__(self, runtime: Runtime, logs: Callable[[], Iterable[Log]], max_bytes: int, most_files: int) -> None:
        self._runtime = runtime
        self._logs = logs
        self._max_bytes = max_bytes
        self._most_files = most_files

    async def run(self) -> None:
        """Rotate until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Rotate what is too large now."""
        for log in list(self._logs()):
            try:
                if log.path.stat().st_size > self._max_bytes:
                    await self._rotate(log)
            except FileNotFoundError:
                continue
            except (OSError, RuntimeFailure) as error:
                logger.warning("log %s: %s", log.path, error)

    async def _rotate(self, log: Log) -> None:
        todo = plan((file.name for file in log.path.parent.glob(f"{log.path.name}.*")), self._most_files)
        for name in todo.remove:
            (log.path.parent / name).unlink(missing_ok=True)
        for name in todo.pack:
            await asyncio.to_thread(pack, log.path.parent / name)
        aside = log.path.with_name(f"{log.path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        log.path.rename(aside)
        try:
            await self._runtime.reopen_container_log(log.container_id)
        except RuntimeFailure:
            aside.rename(log.path)  # the runtime goes on writing into it
            raise


def pack(file: Path) -> None:
    """Compress a file; its name is taken away only when the packed one is whole."""
    temporary = file.with_name(f"{file.name}{UNFINISHED}")
    with file.open("rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.rename(file.with_name(f"{file.name}{PACKED}"))
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
