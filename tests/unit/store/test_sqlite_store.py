"""The embedded store: its file, and what happens when the disk or the file fail."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sampan.store import Compacted, Concern, Conflict, Event, NoSpace, Put, StoreError
from sampan.store.sqlite import SqliteStore

POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"},"spec":{}}'


def put(name: str, expected: int | None = None) -> Put:
    return Put(f"/registry/pods/default/{name}", POD % name.encode(), expected)


def key(name: str) -> str:
    return f"/registry/pods/default/{name}"


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    for name in "abc":
        await store.commit([put(name, 0)])
    await store.commit([Put(key("b"), None)])
    before = store.get(key("c"))
    await store.compact(3)
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.revision == 5 and again.get(key("c")) == before and again.get(key("b")) is None
    watch = again.watch("/registry/", since=3)
    assert [(event.revision, event.deleted) for event in await anext(watch)] == [(4, False), (5, True)]
    with pytest.raises(Compacted):
        again.watch("/registry/", since=2)
    await again.close()


async def test_compaction_forgets_rows(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    for _ in range(50):
        await store.commit([put("a")])
    await store.commit([put("b", 0)])
    await store.commit([Put(key("b"), None)])
    await store.compact(store.revision)
    await store.close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute("SELECT id, key FROM log").fetchall() == [(51, key("a"))]


WRITER = """
import asyncio, sys
from pathlib import Path
from sampan.store import Put
from sampan.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    async def client(number):
        for index in range(100000):
            name = f"{number}-{index}"
            value = b'{"metadata":{"name":"%b"}}' % name.encode()
            await store.commit([Put(f"/registry/pods/default/{name}", value, 0)])
            print(name, flush=True)
    await asyncio.gather(*[client(number) for number in range(16)])

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(2000)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    process.wait()
    store = SqliteStore(path)
    for line in acknowledged:
        name = line.decode().strip()
        if name:
            assert store.get(key(name)) is not None, name
    await store.commit([put("after", 0)])
    await store.close()


async def test_a_second_server_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    other = "import sys, pathlib, sampan.store.sqlite as s; s.SqliteStore(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", other, str(tmp_path / "s.db")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode != 0 and "s.db is in use by another process" in done.stderr
    with pytest.raises(StoreError, match="in use"):
        SqliteStore(tmp_path / "s.db")
    await store.close()


@pytest.mark.parametrize("damage", ["garbage", "page"])
async def test_a_corrupt_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.db"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 1000)
    else:
        store = SqliteStore(path)
        for index in range(300):
            await store.commit([put(f"p{index}", 0)])
        await store.close()
        content = bytearray(path.read_bytes())
        content[8192:16384] = b"\xff" * 8192
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.db is corrupt .*recover"):
        SqliteStore(path)


async def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "s.db")


async def test_a_full_disk_fails_the_write_and_loses_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    (kept,) = await store.commit([put("kept", 0)])
    connection = store._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    big = Put(key("big"), POD[:-1] + b',"x":"%b"}' % (b"y" * 100_000), 0)
    first = asyncio.create_task(store.commit([big]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    chained = asyncio.create_task(store.commit([put("big", store.revision + 1)]))
    with pytest.raises(NoSpace, match="disk is full"):
        await first
    with pytest.raises((NoSpace, Conflict)):
        await chained
    assert store.get(key("big")) is None and store.get(key("kept")) == kept
    connection.execute("PRAGMA max_page_count=1000000")
    await store.commit([put("small", 0)])
    assert store.get(key("small")) is not None
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(key("kept")) == kept and again.get(key("big")) is None and again.get(key("small")) is not None
    await again.close()


@pytest.mark.parametrize("on_disk", [False, True])
async def test_writes_chain_within_a_group(tmp_path: Path, on_disk: bool) -> None:
    store = SqliteStore(tmp_path / "s.db" if on_disk else None)
    first = asyncio.create_task(store.commit([put("a", 0)]))
    await asyncio.sleep(0)
    second = asyncio.create_task(store.commit([put("a", 2)]))
    assert [(await first)[0].revision, (await second)[0].revision] == [2, 3]
    await store.close()


async def test_a_deletion_of_what_is_being_deleted_is_answered_when_it_is_gone(tmp_path: Path) -> None:
    """Found by the linearizability tests: the second deletion was answered at once, and a read after it saw the object."""
    store = SqliteStore(tmp_path / "s.db")
    await store.commit([put("a", 0)])
    first = asyncio.create_task(store.commit([Put(key("a"), None)]))
    await asyncio.sleep(0)
    assert await store.commit([Put(key("a"), None)]) == [] and store.get(key("a")) is None
    await first
    await store.close()


async def test_times_to_live_survive_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.commit([Put(key("event"), POD % b"event", 0, ttl_seconds=1), put("kept", 0)])
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    (event,) = await anext(again.watch("/registry/"))
    assert event.deleted and event.record.key == key("event")
    await again.compact(again.revision)
    await again.close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute("SELECT count(*) FROM expiries").fetchone() == (0,)


async def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    """SQLite's own check sees torn structure only; what is inside a value is known by its checksum."""
    path = tmp_path / "s.db"
    store = SqliteStore(path)
    await store.commit([put("a", 0)])
    (second,) = await store.commit([put("b", 0)])
    await store.close()
    content = path.read_bytes()
    at = content.index(b'"name":"b"')
    path.write_bytes(content[: at + 8] + b"c" + content[at + 9 :])
    with pytest.raises(
        StoreError, match=rf"corrupt \(revision {second.revision} of {key('b')} is not as it was written\)"
    ):
        SqliteStore(path)


async def test_any_torn_page_is_found_or_harmless(tmp_path: Path) -> None:
    """Each sector of the file in turn is lost, as by a write that was cut off: the store says so, or all is there."""
    path = tmp_path / "s.db"
    store = SqliteStore(path)
    for index in range(40):
        await store.commit([put(f"p{index}", 0)])
    expected = store.image().records
    await store.close()
    content = path.read_bytes()
    found = 0
    for start in range(0, len(content), 512):
        damaged = content[:start] + b"\0" * 512 + content[start + 512 :]
        if damaged == content:
            continue
        path.write_bytes(damaged)
        try:
            again = SqliteStore(path)
        except StoreError:
            found += 1
            continue
        assert again.image().records == expected, f"sector at {start}"
        await again.close()
    assert found > 5


async def test_a_torn_end_of_the_log_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    """The last write before a crash may be torn in SQLite's WAL: it was not answered, and those before it are whole."""
    path, wal = tmp_path / "s.db", tmp_path / "s.db-wal"
    store = SqliteStore(path)
    for index in range(20):
        await store.commit([put(f"p{index}", 0)])
    copy = tmp_path / "copy"
    copy.mkdir()
    content, log = path.read_bytes(), wal.read_bytes()
    await store.close()
    for cut in (1, 100, 4000, 5000, 9000):
        (copy / "s.db").write_bytes(content)
        (copy / "s.db-wal").write_bytes(log[:-cut])
        again = SqliteStore(copy / "s.db")
        names = [record.key for record in (await again.page("/registry/")).records]
        assert names == sorted(key(f"p{index}") for index in range(len(names))) and 15 < len(names) < 20
        await again.close()


async def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE log (id INTEGER PRIMARY KEY, key TEXT NOT NULL, create_revision INTEGER NOT NULL,"
            " prev INTEGER NOT NULL, deleted INTEGER NOT NULL, value BLOB NOT NULL);"
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID; PRAGMA user_version=1;"
        )
        row = (2, key("a"), 2, 0, 0, b'{"metadata":{"resourceVersion":"2","name":"a"}}')
        connection.execute("INSERT INTO log VALUES (?,?,?,?,?,?)", row)
    connection.close()
    store = SqliteStore(path)
    record = store.get(key("a"))
    assert record is not None and record.revision == 2
    await store.commit([put("b", 0)])
    await store.close()
    again = SqliteStore(path)
    assert {again.get(key(name)) is not None for name in "ab"} == {True}
    await again.close()


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="has format 99, this version of sampan reads format 3"):
        SqliteStore(path)


async def test_the_file_shrinks_when_what_it_held_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = SqliteStore(path)
    for start in range(0, 1000, 100):
        puts = [
            Put(key(f"p{index}"), POD[:-1] % b"x" + b',"x":"%b"}' % (b"y" * 2000), 0)
            for index in range(start, start + 100)
        ]
        await store.commit(puts)
    for start in range(0, 1000, 100):
        await store.commit([Put(key(f"p{index}"), None) for index in range(start, start + 100)])
    await store.compact(store.revision)
    await store.commit([put("after", 0)])
    await store.close()
    assert path.stat().st_size < 1_500_000


async def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.commit([put("a", 0)])
    files = [tmp_path / name for name in ("s.db", "s.db-wal")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    await store.close()


async def test_a_read_only_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await SqliteStore(path).close()
    other = (
        "import os, sys, pathlib, sampan.store.sqlite as s; os.setuid(65534); s.SqliteStore(pathlib.Path(sys.argv[1]))"
    )
    if os.geteuid() != 0:
        pytest.skip("root may give up its rights; others have none to give up")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", other, str(path)], capture_output=True, text=True
    )
    assert done.returncode != 0 and "s.db" in done.stderr and "StoreError" in done.stderr


FILLER = """
import asyncio, resource, sys
from pathlib import Path
from sampan.store import Put, StoreError
from sampan.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    if sys.argv[2] != "0":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    for index in range(10000):
        value = b'{"metadata":{"name":"%d"},"x":"%b"}' % (index, b"y" * 5000)
        try:
            await store.commit([Put(f"/registry/pods/default/{index}", value, 0)])
        except StoreError as error:
            print("refused", type(error).__name__, error, flush=True)
            break
        print(index, flush=True)
    for _ in range(3):
        try:
            await store.commit([Put("/registry/pods/default/again", b'{"metadata":{"name":"a"},"x":"%b"}' % (b"y" * 9000))])
        except StoreError as error:
            print("refused", type(error).__name__, flush=True)

asyncio.run(main())
"""


async def filled(path: Path, limit: int) -> list[str]:
    command = [sys.executable, "-c", FILLER, str(path), str(limit)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    return done.stdout.splitlines()


async def check_filled(path: Path, lines: list[str]) -> None:
    acknowledged = [line for line in lines if line.isdigit()]
    assert len(acknowledged) > 20 and any(line.startswith("refused") for line in lines)
    store = SqliteStore(path)
    names = {record.key.rpartition("/")[2] for record in (await store.page("/registry/pods/")).records}
    assert names - {"again"} == set(acknowledged)
    await store.commit([put("after", 0)])
    await store.close()


async def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await check_filled(path, await filled(path, 1_000_000))


async def test_a_disk_that_is_full_is_named_and_loses_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    mounted = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        path = tmp_path / "s.db"
        lines = await filled(path, 0)
        assert any("NoSpace" in line and "the disk is full" in line for line in lines)
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=4m", str(tmp_path)], check=True)
        await check_filled(path, lines)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", str(tmp_path)], check=True)


async def test_a_file_is_let_go_of_also_when_its_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "s.db")

    def full(name: str, value: int) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(store._database, "remember", full)
    with pytest.raises(NoSpace):
        await store.close()
    again = SqliteStore(tmp_path / "s.db")
    await again.close()


async def test_who_cannot_tell_whom_a_change_concerns_holds_up_nobody(tmp_path: Path) -> None:
    def values(event: Event) -> set[str]:
        if event.record.key == key("odd"):
            raise AttributeError("it has no spec")
        return {"here"}

    store = SqliteStore(tmp_path / "s.db")
    concerned = store.watch("/registry/pods/", concern=Concern("where", values, "here"))
    other = store.watch("/registry/pods/")
    async with asyncio.timeout(60):
        for name in ("even", "odd"):
            (record,) = await store.commit([put(name, 0)])
            assert store.get(key(name)) == record
        assert [event.record.key for event in await anext(concerned)] == [key("even")]
        with pytest.raises(StoreError, match="odd cannot be read: it has no spec"):
            await anext(concerned)
        assert [event.record.key for event in await anext(other)] == [key("even"), key("odd")]
        (record,) = await store.commit([put("after", 0)])
    assert store.get(key("after")) == record
    await store.close()
