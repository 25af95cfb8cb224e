"""Snapshots: the state of a store at one revision, as one SQLite file.

A snapshot is written from an image, which memory gives at once: writers wait for nothing. What only means something to the
servers that wrote it (their places among the endpoints, their claims) is left out. Values are sealed as the store's are.

Restoring is a write like any other: the difference between what is and what was, so that every object that changes gets
a new revision, watchers see it as events, and no resourceVersion a client may hold is ever given out again (etcd's own
restore begins a new history, and clients that knew the old one miss changes).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from sampan.store.encryption import Encryption
from sampan.store.image import Image
from sampan.store.layout import CLAIMS, MASTER_LEASES, moved, prefix_of
from sampan.store.protocol import Conflict, Put, Record, Store, StoreError, without_resource_version

FORMAT = 1002
READS = (1001, 1002)
"""1001, before 0.2, has the keys of layout 1."""
SCHEMA = f"""
PRAGMA journal_mode=DELETE;
PRAGMA user_version={FORMAT};
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    key TEXT PRIMARY KEY, create_revision INTEGER NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL
);
"""
LEFT_OUT = (MASTER_LEASES, CLAIMS)
EVENTS = prefix_of("events")
DEFINITIONS = prefix_of("customresourcedefinitions")
ATTEMPTS = 3
OPERATIONS_AT_MOST = 100
"""In one transaction of etcd (its own limit is 128). SQLite takes all in one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``about`` says where it is from: cluster, kubernetesVersion, time, …"""

    image: Image
    about: Mapping[str, str]


def write(path: Path, image: Image, about: Mapping[str, str], encryption: Encryption | None = None) -> None:
    """Write a snapshot; it is there whole, or not at all. Blocks. Raises ``StoreError``."""
    sealing = encryption or Encryption()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    made = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # Secrets are in it
        records = [image.records[key] for key in image.keys if not key.startswith(LEFT_OUT)]
        rows = ((r.key, r.create_revision, r.revision, sealing.seal(r.key, r.value)) for r in records)
        with closing(sqlite3.connect(temporary)) as connection, connection:
            connection.executescript(SCHEMA)
            told = {**about, "revision": str(image.revision), "objects": str(len(records))}
            connection.executemany("INSERT INTO about VALUES (?, ?)", told.items())
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        temporary.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                path.parent.rmdir()  # nothing was written


def read(path: Path, encryption: Encryption | None = None) -> Snapshot:
    """Return a snapshot. Blocks. Raises ``StoreError``."""
    opened = (encryption or Encryption()).open
    with opening(path) as connection:
        found = connection.execute("SELECT key, create_revision, revision, value FROM records")
        records = {key: Record(key, opened(key, value), created, revision) for key, created, revision, value in found}
        told = dict(connection.execute("SELECT name, value FROM about"))
        if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            records = in_layout(records)
    return Snapshot(Image.of(records, int(told["revision"])), told)


def in_layout(records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the records of layout 1 under the keys of today."""
    custom = {key[len(DEFINITIONS) :] for key in records if key.startswith(DEFINITIONS)}
    return {now: record._replace(key=now) for key, record in records.items() for now in (moved(key, custom),)}


def about(path: Path) -> dict[str, str]:
    """Return where a snapshot is from, with its ``revision`` and the number of ``objects``. Raises ``StoreError``."""
    with opening(path) as connection:
        return dict(connection.execute("SELECT name, value FROM about"))


@contextmanager
def opening(path: Path) -> Iterator[sqlite3.Connection]:
    """A snapshot's file, to be read. Raises ``StoreError`` where it is none, or damaged."""
    if not path.is_file():
        raise StoreError(f"there is no snapshot {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in READS:
                raise StoreError(
                    f"{path} has format {version}, this version of sampan reads snapshots of format {FORMAT}"
                )
            findings = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
            if findings != ["ok"]:
                raise StoreError(f"{path} is damaged: {'; '.join(findings)}")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no snapshot, or damaged: {error}") from error


def changes(current: Mapping[str, Record], wanted: Mapping[str, Record]) -> tuple[list[Put], list[Put]]:
    """Return the deletions and the writes that make ``wanted`` of ``current``. An object that is another one by now (its
    uid says so) is deleted first."""
    gone: list[Put] = []
    written: list[Put] = []
    for key, now in current.items():
        then = wanted.get(key)
        if key.startswith(LEFT_OUT):
            continue
        if then is None:
            gone.append(Put(key, None, expected=now.revision))
            continue
        value = without_resource_version(then)
        if value == without_resource_version(now):
            continue
        if uid(then) != uid(now):
            gone.append(Put(key, None, expected=now.revision))
            written.append(Put(key, value, ttl_seconds=ttl(key)))
        else:
            written.append(Put(key, value, expected=now.revision, ttl_seconds=ttl(key)))
    for key, then in wanted.items():
        if key not in current and not key.startswith(LEFT_OUT):
            written.append(Put(key, without_resource_version(then), expected=0, ttl_seconds=ttl(key)))
    return gone, written


def uid(record: Record) -> str:
    return str(orjson.loads(record.value)["metadata"].get("uid", ""))


def ttl(key: str) -> int:
    return 3600 if key.startswith(EVENTS) else 0


async def restore(store: Store, snapshot: Snapshot) -> int:
    """Make a running store's state that of the snapshot; return how many writes it took. One transaction, but on etcd,
    where only so many writes fit into one. Those who write the same objects meanwhile are heard a few times, then
    overwritten. Raises ``StoreError``."""
    total = 0
    for attempt in range(ATTEMPTS + 1):
        await store.fresh()
        gone, written = changes(store.image().records, snapshot.image.records)
        if attempt == ATTEMPTS:
            gone, written = ([put._replace(expected=None) for put in puts] for puts in (gone, written))
        try:
            for puts in batches(gone, written, OPERATIONS_AT_MOST if store.shared else 0):
                total += len(await store.commit(puts))
            return total
        except Conflict:
            continue  # look again at what differs
    raise AssertionError("writes without expectations do not conflict")


def batches(gone: Sequence[Put], written: Sequence[Put], at_most: int) -> list[Sequence[Put]]:
    if not at_most:
        return [[*gone, *written]] if gone or written else []
    return [puts[at : at + at_most] for puts in (gone, written) for at in range(0, len(puts), at_most)]
