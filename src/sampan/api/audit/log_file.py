"""Audit Events as lines of a file, which is begun anew when it has grown (``--audit-log-*``).

An Event is written before its request is answered. A file that is too large becomes ``audit-<time>.log``; of those, the
newest ``backups`` are kept, and none older than ``days``. Source: kube-apiserver's log backend (lumberjack's file names).
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson

from sampan.schema.objects import Object

logger = logging.getLogger("sampan.api")

DAY_SECONDS = 86400
STAMP = "%Y-%m-%dT%H-%M-%S"


class LogFile:
    """``path`` None: standard output. 0 backups or days: no limit; 0 bytes: never begun anew."""

    def __init__(self, path: Path | None, *, max_bytes: int = 0, backups: int = 0, days: int = 0) -> None:
        self._path, self._max_bytes, self._backups, self._days = path, max_bytes, backups, days
        self._size = 0
        self._file = -1
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open(path)

    def _open(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, event: Object) -> None:
        data = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        try:
            if self._path is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
                return
            if self._max_bytes and self._size and self._size + len(data) > self._max_bytes:
                self._rotate(self._path)
            while data:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]
        except OSError as error:
            logger.error("the audit log cannot be written: %s", error)

    def _rotate(self, path: Path) -> None:
        now = datetime.now(UTC)
        stamp = f"{now.strftime(STAMP)}.{now.microsecond // 1000:03d}"
        kept = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
        if kept.exists():  # twice in a millisecond: the file grows a little more instead
            return
        os.close(self._file)
        path.rename(kept)
        self._open(path)
        self._remove_old(path)

    def _remove_old(self, path: Path) -> None:
        form = re.compile(rf"{re.escape(path.stem)}-\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}{re.escape(path.suffix)}")
        old = sorted((entry for entry in path.parent.iterdir() if form.fullmatch(entry.name)), reverse=True)
        oldest = time.time() - self._days * DAY_SECONDS
        for index, entry in enumerate(old):
            if (self._backups and index >= self._backups) or (self._days and entry.stat().st_mtime < oldest):
                entry.unlink(missing_ok=True)

    async def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
