"""Where every file has been read to and acknowledged, and how far every output had come then: one SQLite file.

What is read, what is held of it, and the outputs' marks are committed together, after the outputs have acknowledged. After
``kill -9`` the outputs that can are taken back to their marks, and reading goes on from the offsets: exactly once for
those, at least once for others.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    device INTEGER, inode INTEGER, path TEXT, fingerprint BLOB, offset INTEGER, held BLOB, seen REAL,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (output TEXT PRIMARY KEY, mark INTEGER) WITHOUT ROWID;
"""
KEPT_SECONDS = 7 * 86400
"""A file that is no more is forgotten after so long."""


class Position(NamedTuple):
    device: int
    inode: int
    path: str
    fingerprint: bytes
    """The file's first bytes (``reading/file.py``)."""
    offset: int
    held: bytes
    """What was read before ``offset`` and has not gone out."""


class Ledger:
    def __init__(self, path: Path) -> None:
        """Raises ``OSError``, ``sqlite3.Error``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def forget(self, there: Container[tuple[int, int]]) -> None:
        """Forget files that are not there and have not been seen for long. Raises ``sqlite3.Error``."""
        old = self._db.execute(
            "SELECT device, inode FROM files WHERE seen < ?", (time.time() - KEPT_SECONDS,)
        ).fetchall()
        gone = [key for key in old if key not in there]
        self._db.executemany("DELETE FROM files WHERE device = ? AND inode = ?", gone)

    def positions(self) -> list[Position]:
        rows = self._db.execute("SELECT device, inode, path, fingerprint, offset, held FROM files")
        return [Position(*row) for row in rows]

    def marks(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT output, mark FROM marks"))

    def commit(self, positions: Iterable[Position], marks: Mapping[str, int]) -> None:
        now = time.time()
        rows = [(*position, now) for position in positions]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks.items())
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._db.close()
