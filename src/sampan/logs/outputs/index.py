"""An index in one SQLite file, searched by words (FTS5). A batch is a transaction; the mark is the last record's number."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from sampan.logs.outputs.options import Options
from sampan.logs.outputs.output import Batch, Output, Undelivered

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, time TEXT, namespace TEXT, pod TEXT, container TEXT, stream TEXT, labels TEXT, text TEXT
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='records', content_rowid='id');
CREATE TRIGGER IF NOT EXISTS taken_back BEFORE DELETE ON records BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""
INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INDEX = "INSERT INTO words(rowid, text) SELECT id, text FROM records WHERE id > ?"


class Index:
    def __init__(self, path: Path, name: str = "") -> None:
        self.name, self._path = name or f"sqlite:{path.absolute()}", path
        self._db: sqlite3.Connection | None = None
        self._last = 0

    async def open(self, mark: int | None) -> int:
        """Raises ``sqlite3.Error``, ``OSError``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(SCHEMA)
        if mark is not None:
            db.execute("DELETE FROM records WHERE id > ?", (mark,))
        self._last = db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0]
        return self._last

    async def deliver(self, batch: Batch) -> int:
        try:
            self._last = await asyncio.to_thread(self._write, batch)
        except sqlite3.Error as error:
            raise Undelivered(f"{self._path}: {error}") from error
        return self._last

    def _write(self, batch: Batch) -> int:
        db, before = self._db, self._last
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(INSERT, rows(batch, before))
            db.execute(INDEX, (before,))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        return before + len(batch)

    async def close(self) -> None:
        if self._db is not None:
            self._db.close()


def rows(batch: Batch, before: int) -> Iterator[tuple[int | str, ...]]:
    for number, (labels, record, _, _) in enumerate(batch, before + 1):
        of = labels.values
        pod = (of.get("namespace", ""), of.get("pod", ""), of.get("container", ""), of.get("stream", ""))
        text = record.text.decode("utf-8", "replace")
        yield number, record.time.decode("utf-8", "replace"), *pod, orjson.dumps(of).decode(), text


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    return Index(Path(options.needed("path")), name)


class Found(NamedTuple):
    time: str
    namespace: str
    pod: str
    container: str
    labels: dict[str, str]
    text: str


def search(path: Path, words: str, *, newest: int = 100, namespace: str = "", pod: str = "") -> list[Found]:
    """Return the newest records that an expression of FTS5 finds, oldest first. Raises ``sqlite3.Error``."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = db.execute(
            "SELECT time, namespace, pod, container, labels, records.text FROM words JOIN records ON id = words.rowid "
            "WHERE words MATCH ? AND (? IN ('', namespace)) AND (? IN ('', pod)) ORDER BY id DESC LIMIT ?",
            (words, namespace, pod, newest),
        ).fetchall()
    finally:
        db.close()
    return [
        Found(time, namespace, pod, container, orjson.loads(labels), text)
        for time, namespace, pod, container, labels, text in reversed(found)
    ]
