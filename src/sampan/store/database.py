"""The SQLite file under the store: a log of revisions, one row a change.

Rows come in from the store's commit groups: ``insert`` has them in SQLite's log (WAL), and they are durable when that is
synced, once a group. ``append`` does both and blocks for as long as the disk takes: the store's thread calls it. On Linux
the event loop inserts, and the kernel syncs beside it (``kernel_sync.py``). SQLite itself syncs at its checkpoints
(``synchronous=NORMAL``): together that is what FULL would do.
The layout is kine's idea: ``id`` is the revision, ``prev`` the revision this row replaces, the newest row of a key is
its state. The file is locked for as long as it is open, so that two servers cannot write one cluster.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, cast

from sampan.store.encryption import SEALED, Encryption
from sampan.store.expiries import Expiry
from sampan.store.kernel_sync import KernelSync
from sampan.store.layout import moved, prefix_of
from sampan.store.protocol import NoSpace, StoreError

Durability = Literal["disk", "process"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    value BLOB NOT NULL,
    checksum INTEGER
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expiries (id INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS marks (id INTEGER PRIMARY KEY, at REAL NOT NULL);
"""
FORMAT = 3
READS = (0, 1, 2, 3)
"""0 is a new file; 1 had no checksums; 1 and 2, before 0.2, have the keys of layout 1."""
CACHE_KIBIBYTES = 128
"""Of pages: the log is written at its end, and read at the start only."""
FREE_PAGES_KEPT = 256
FREED_AT_ONCE = 8192
"""Pages of 4 KiB: 32 MiB take some 50 ms."""
MARK_SECONDS = 1.0
"""How exactly the time of a revision is known afterwards: one row of ``marks`` a second of writing."""
CHECKPOINT_PAGES = 1000
"""Pages in SQLite's log that are moved to the file at a time (SQLite's own default): by the thread, where SQLite would have
the commit do it that fills the log."""
PAGE_BYTES, PAGES_A_COMMIT = 4096, 4
ROWS_A_STATEMENT = 16
"""Rows in one INSERT. A group of one statement needs no BEGIN and COMMIT, and the thread takes the interpreter lock
twice in all instead of twice a row. A prepared statement takes 1.4 KB a row, and there is one for each number of rows: all
up to 64 would take 3 MB."""


_UNKNOWN = object()
_sync = getattr(os, "fdatasync", os.fsync)


class Row(NamedTuple):
    """One change as it is stored; ``value`` is the served JSON."""

    revision: int
    key: str
    create_revision: int
    previous: int
    deleted: bool
    value: bytes


def checksum(value: bytes, revision: int) -> int:
    """Return what tells whether a row is as it was written: SQLite knows whether its pages hold together, not whether
    what is on them has changed."""
    return zlib.crc32(value, revision & 0xFFFFFFFF)


class Database:
    """One open database file."""

    def __init__(
        self,
        path: Path,
        durability: Durability = "disk",
        encryption: Encryption | None = None,
    ) -> None:
        self.path = path
        self._encryption = encryption or Encryption()
        self.name = str(path)
        self._inserts: dict[int, str] = {}
        self._durable = durability == "disk"
        self._log_fd: int | None = None
        self._syncs: KernelSync | object | None = _UNKNOWN
        self._taken_back: list[int] = []
        """Revisions whose rows are to go: their writers were told that they are not there."""
        self._pages = 0
        """About how many pages the log has grown by since the last checkpoint."""
        self._marked = 0.0
        try:
            # Secrets are in it: a new file is its owner's only, and so is SQLite's log beside it. One that is there is not
            # touched: closing it here would let go of the locks that this process may have on it
            if not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._connection = sqlite3.connect(
                path,
                isolation_level=None,
                check_same_thread=False,
                timeout=0,
                cached_statements=256,
            )
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"cannot open {self.name}: {error}; check that its directory exists and is writable"
            ) from error
        try:
            self._prepare(durability)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from error
        except StoreError:
            self._connection.close()
            raise

    def _prepare(self, durability: Durability) -> None:
        run = self._connection.execute
        # EXCLUSIVE before WAL: SQLite then keeps the file's lock until close, and needs no shared memory
        run("PRAGMA locking_mode=EXCLUSIVE")
        run(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")
        run("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; before WAL, which writes its first page
        run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={'NORMAL' if durability == 'disk' else 'OFF'}")
        if durability == "disk":
            run("PRAGMA wal_autocheckpoint=0")
        findings = [row[0] for row in run("PRAGMA quick_check(3)")]
        if findings != ["ok"]:
            raise StoreError(self._corrupt(" ".join("; ".join(findings).split())))
        version = run("PRAGMA user_version").fetchone()[0]
        if version not in READS:
            raise StoreError(f"{self.name} has format {version}, this version of sampan reads format {FORMAT}")
        self._connection.executescript(SCHEMA)
        if "checksum" not in {row[1] for row in run("PRAGMA table_info(log)")}:
            run("ALTER TABLE log ADD COLUMN checksum INTEGER")  # of rows from before 0.2: none
        try:
            run("BEGIN IMMEDIATE")
            if version in (1, 2):
                self._move_keys()
            run(f"PRAGMA user_version={FORMAT}")
            run("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _move_keys(self) -> None:
        """Give every row the key that it has in the layout of today (``layout.py``), within a transaction of the caller's."""
        run, encryption = self._connection.execute, self._encryption
        definitions = prefix_of("customresourcedefinitions")
        like = (definitions, f"{definitions}\U0010ffff")
        custom = {
            key[len(definitions) :] for (key,) in run("SELECT DISTINCT key FROM log WHERE key BETWEEN ? AND ?", like)
        }
        for id, key in run("SELECT id, key FROM log").fetchall():
            now = moved(key, custom)
            if now == key:
                continue
            run("UPDATE log SET key = ? WHERE id = ?", (now, id))
            (value,) = run("SELECT value FROM log WHERE id = ?", (id,)).fetchone()
            if value.startswith(SEALED):  # its key may be bound into it
                sealed = encryption.seal(now, encryption.open(key, value))
                run("UPDATE log SET value = ?, checksum = ? WHERE id = ?", (sealed, checksum(sealed, id), id))

    def reseal(self) -> int:
        """Seal anew what the configuration would seal otherwise today; return how many rows. Nothing is left of how
        they were. Raises ``StoreError``, and then all is as it was."""
        run, encryption = self._connection.execute, self._encryption
        try:
            run("PRAGMA secure_delete=ON")
            run("BEGIN IMMEDIATE")
            stale = [
                (id, key) for id, key, value in run("SELECT id, key, value FROM log") if encryption.stale(key, value)
            ]
            for id, key in stale:
                (value,) = run("SELECT value FROM log WHERE id = ?", (id,)).fetchone()
                sealed = encryption.seal(key, encryption.open(key, value))
                run("UPDATE log SET value = ?, checksum = ? WHERE id = ?", (sealed, checksum(sealed, id), id))
            run("COMMIT")
            if stale:
                run("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._rollback()
            raise self._refused(error) from error
        except StoreError:
            self._rollback()
            raise
        return len(stale)

    def _unusable(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(f"{self.name} is in use by another process: stop the server that has it open")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreError(self._corrupt(str(error)))
        return self._refused(error)

    def _corrupt(self, finding: str) -> str:
        return (
            f"{self.name} is corrupt ({finding}): restore a copy, save what is readable with "
            f"`sqlite3 {self.name} .recover`, or move the file away to start empty"
        )

    def _refused(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return NoSpace(self._full())
        return StoreError(f"cannot write {self.name}: {error}")

    def _full(self) -> str:
        return f"cannot write {self.name}: the disk is full, free some space and try again"

    def rows(self) -> Iterator[Row]:
        """Return all rows, oldest first."""
        query = "SELECT id, key, create_revision, prev, deleted, value, checksum FROM log ORDER BY id"
        opened = self._encryption.open
        for revision, key, create_revision, previous, deleted, value, check in self._connection.execute(query):
            if check is not None and check != checksum(value, revision):
                raise StoreError(self._corrupt(f"revision {revision} of {key} is not as it was written"))
            yield Row(revision, key, create_revision, previous, bool(deleted), opened(key, value))

    def meta(self, name: str) -> int:
        """Return a number kept beside the log; 0 where it was never set."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def marks(self) -> list[tuple[int, float]]:
        """Return when revisions were written: the first of every second with writes."""
        return [(int(id), float(at)) for id, at in self._connection.execute("SELECT id, at FROM marks ORDER BY id")]

    def expiries(self) -> dict[int, float]:
        """Return when revisions expire (seconds since the epoch)."""
        return dict(self._connection.execute("SELECT id, at FROM expiries"))

    def append(self, rows: Sequence[Row], expiries: Sequence[Expiry] = ()) -> None:
        """Write the rows in one transaction; durable on return. Raises ``StoreError``, and then none is there."""
        self.insert(rows, expiries)
        if self._durable:
            self.sync(rows)

    def sync(self, rows: Sequence[Row]) -> None:
        """Make durable what was inserted. Raises ``StoreError``, and then none of the rows is there."""
        try:
            _sync(self._log())
        except OSError as error:
            raise self.unsynced(rows, error) from error

    def insert(self, rows: Sequence[Row], expiries: Sequence[Expiry] = ()) -> None:
        """Write the rows in one transaction, which the next sync makes durable. Raises ``StoreError``, and then none is
        there."""
        if self._taken_back:
            self._take_back()
        now = time.time()
        mark = now - self._marked >= MARK_SECONDS
        self._pages += PAGES_A_COMMIT + sum(len(row.value) for row in rows) // PAGE_BYTES
        try:
            if len(rows) <= ROWS_A_STATEMENT and not expiries and not mark:
                self._insert(rows)
                return
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            for start in range(0, len(rows), ROWS_A_STATEMENT):
                self._insert(rows[start : start + ROWS_A_STATEMENT])
            for expiry in expiries:
                run("INSERT INTO expiries VALUES (?, ?)", (expiry.revision, expiry.at))
            if mark:
                run("INSERT OR REPLACE INTO marks VALUES (?, ?)", (rows[0].revision, now))
            run("COMMIT")
            if mark:
                self._marked = now
        except sqlite3.Error as error:
            self._rollback()
            raise self._refused(error) from error

    def kernel_sync(self) -> KernelSync | None:
        """Return what makes durable what was inserted, None where only ``append`` does."""
        if self._syncs is _UNKNOWN:
            self._syncs = KernelSync.open(self._log()) if self._durable else None
        return cast("KernelSync | None", self._syncs)

    def without_kernel(self) -> None:
        """Have no more to do with the kernel's own way: it does not sync this file."""
        if isinstance(self._syncs, KernelSync):
            self._syncs.close()
        self._syncs = None

    def _log(self) -> int:
        """Return a descriptor of SQLite's log, which is there as long as the connection."""
        if self._log_fd is None:
            self._log_fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        return self._log_fd

    def unsynced(self, rows: Sequence[Row], error: OSError) -> StoreError:
        """Take back rows that the disk did not take, and return why: their writers are told that nothing was written."""
        self._taken_back += [row.revision for row in rows]
        with suppress(StoreError):  # then it is tried again before anything else is written
            self._take_back()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(self._full())
        return StoreError(f"cannot write {self.name}: {error}")

    def _take_back(self) -> None:
        """Delete the rows, and have the log begin anew: what follows a page that is not on disk would be lost with it."""
        try:
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            for table in ("log", "expiries"):
                for revision in self._taken_back:
                    run(f"DELETE FROM {table} WHERE id = ?", (revision,))
            run("COMMIT")
            run("PRAGMA wal_checkpoint(RESTART)").fetchall()
        except sqlite3.Error as error:
            self._rollback()
            raise self._refused(error) from error
        self._taken_back.clear()

    def _insert(self, rows: Sequence[Row]) -> None:
        count = len(rows)
        statement = self._inserts.get(count)
        if statement is None:
            statement = self._inserts[count] = "INSERT INTO log VALUES " + ",".join(["(?,?,?,?,?,?,?)"] * count)
        if self._encryption:
            rows = [row._replace(value=self._encryption.seal(row.key, row.value)) for row in rows]
        self._connection.execute(
            statement, [field for row in rows for field in (*row, checksum(row.value, row.revision))]
        )

    def compact(self, revision: int, before: int) -> None:
        """Delete what was replaced or deleted at revisions in ``(before, revision]``, and remember ``revision``."""
        span = (before, revision)
        try:
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            run("DELETE FROM log WHERE id IN (SELECT prev FROM log WHERE id > ? AND id <= ? AND prev > 0)", span)
            run("DELETE FROM log WHERE id > ? AND id <= ? AND deleted = 1", span)
            run("DELETE FROM expiries WHERE id NOT IN (SELECT id FROM log)")
            run("DELETE FROM marks WHERE id < (SELECT max(id) FROM marks WHERE id <= ?)", (revision,))
            run("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (revision,))
            run("COMMIT")
            self._pages = CHECKPOINT_PAGES  # nobody knows how many it was
            self._shrink()
        except sqlite3.Error as error:
            self._rollback()
            raise self._refused(error) from error

    def checkpoint_is_due(self) -> bool:
        return self._pages >= CHECKPOINT_PAGES

    def checkpoint(self) -> None:
        """Move SQLite's log into the file, so that the log begins anew."""
        self._pages = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _shrink(self) -> None:
        """Give the disk back what is free in the file, when that is much; some at a time, for writers wait."""
        free, pages = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
        )
        if free > max(FREE_PAGES_KEPT, pages // 4):
            # execute() would free one page: it steps once where a statement has no columns
            self._connection.executescript(f"PRAGMA incremental_vacuum({FREED_AT_ONCE})")

    def remember(self, name: str, value: int) -> None:
        """Keep a number beside the log."""
        try:
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self.without_kernel()
        if self._log_fd is not None:
            os.close(self._log_fd)
        self._connection.close()
