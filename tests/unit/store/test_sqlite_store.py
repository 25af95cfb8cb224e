"""The embedded store: revisions, conflicts, groups, watches, history, and what happens when the disk or the file fail."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sampan.store import Compacted, Conflict, FutureRevision, NoSpace, Put, StoreError
from sampan.store.sqlite import SqliteStore

POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"},"spec":{}}'


def put(name: str, expected: int | None = None) -> Put:
    return Put(f"/registry/pods/default/{name}", POD % name.encode(), expected)


def key(name: str) -> str:
    return f"/registry/pods/default/{name}"


async def open_store(path: Path | None) -> SqliteStore:
    return SqliteStore(path)


@pytest.fixture(params=["memory", "disk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    made = SqliteStore(None if request.param == "memory" else tmp_path / "store.db")
    yield made
    await made.close()


async def test_revisions_are_spliced(store: SqliteStore) -> None:
    (record,) = await store.commit([put("a", 0)])
    assert record.revision == store.revision == 2
    assert record.value == b'{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"2","name":"a"},"spec":{}}'
    assert store.get(key("a")) == record
    (second,) = await store.commit([put("a", record.revision)])
    assert (second.create_revision, second.revision) == (2, 3)


async def test_conflicts(store: SqliteStore) -> None:
    (record,) = await store.commit([put("a", 0)])
    with pytest.raises(Conflict) as exists:
        await store.commit([put("a", 0)])
    assert exists.value.current == record
    with pytest.raises(Conflict):
        await store.commit([put("new", 0), put("a", 99)])
    assert store.get(key("new")) is None


async def test_one_of_many_wins(store: SqliteStore) -> None:
    results = await asyncio.gather(*[store.commit([put("a", 0)]) for _ in range(20)], return_exceptions=True)
    assert sum(isinstance(result, list) for result in results) == 1
    losers = [result for result in results if isinstance(result, Conflict)]
    assert len(losers) == 19 and all(loser.current == store.get(key("a")) for loser in losers)


async def test_writes_chain_within_a_group(store: SqliteStore) -> None:
    first = asyncio.create_task(store.commit([put("a", 0)]))
    await asyncio.sleep(0)
    second = asyncio.create_task(store.commit([put("a", 2)]))
    assert [(await first)[0].revision, (await second)[0].revision] == [2, 3]


async def test_delete(store: SqliteStore) -> None:
    (record,) = await store.commit([put("a", 0)])
    watch = store.watch("/registry/pods/")
    (deleted,) = await store.commit([Put(key("a"), None, record.revision, last=POD % b"last")])
    assert store.get(key("a")) is None and b'"resourceVersion":"3","name":"last"' in deleted.value
    (event,) = await anext(watch)
    assert event.deleted and event.previous == record and event.revision == 3
    assert await store.commit([Put(key("a"), None)]) == []


async def test_pages(store: SqliteStore) -> None:
    for name in "abcd":
        await store.commit([put(name, 0)])
    await store.commit([Put("/registry/podtemplates/default/x", POD % b"x", 0)])
    page = await store.page("/registry/pods/", limit=3)
    assert [record.key[-1] for record in page.records] == ["a", "b", "c"]
    assert (page.more, page.remaining, page.revision) == (True, 1, 6)
    rest = await store.page("/registry/pods/", after=page.records[-1].key)
    assert [record.key[-1] for record in rest.records] == ["d"] and not rest.more


async def test_pages_of_the_past(store: SqliteStore) -> None:
    for name in "abc":
        await store.commit([put(name, 0)])
    then = store.revision
    await store.commit([Put(key("a"), None)])
    await store.commit([put("b")])
    await store.commit([put("d", 0)])
    page = await store.page("/registry/pods/", revision=then)
    assert [record.key[-1] for record in page.records] == ["a", "b", "c"]
    assert [record.revision for record in page.records] == [2, 3, 4]
    part = await store.page("/registry/pods/", revision=then, limit=1, after=key("a"))
    assert [record.key[-1] for record in part.records] == ["b"] and part.remaining == 1
    with pytest.raises(FutureRevision):
        await store.page("/registry/pods/", revision=99)
    await store.compact(store.revision)
    with pytest.raises(Compacted):
        await store.page("/registry/pods/", revision=then)


async def test_watch_from_the_past(store: SqliteStore) -> None:
    for name in "abc":
        await store.commit([put(name, 0)])
    watch = store.watch("/registry/pods/", since=2)
    assert [event.record.key[-1] for event in await anext(watch)] == ["b", "c"]
    await store.compact(3)
    with pytest.raises(Compacted):
        store.watch("/registry/pods/", since=2)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_slow_watcher_is_ended(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.store.watchers.BUFFERED_EVENTS", 3)
    watch = store.watch("/registry/")
    for name in "abcde":
        await store.commit([put(name, 0)])
    with pytest.raises(StoreError, match="behind"):
        while True:
            await anext(watch)


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


async def test_a_cancelled_writer_harms_nobody(store: SqliteStore) -> None:
    first = asyncio.create_task(store.commit([put("a", 0)]))
    second = asyncio.create_task(store.commit([put("b", 0)]))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await asyncio.gather(first, return_exceptions=True)
    assert store.get(key("b")) is not None
