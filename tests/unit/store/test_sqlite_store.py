"""The embedded store: its file, and what happens when the disk or the file fail."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sampan.store import Compacted, Conflict, NoSpace, Put, StoreError
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
