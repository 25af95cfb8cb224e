"""Snapshots: whole files, read into images, restored as writes that every watcher sees."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from sampan.store import Event, Put, Record, Store, StoreError, snapshot
from sampan.store.encryption import parse
from sampan.store.image import Image
from sampan.store.sqlite import SqliteStore
from sampan.store.watchers import PrefixWatch

VALUE = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","uid":"%b"},"data":{"v":"%b"}}'


def key(name: str) -> str:
    return f"/registry/configmaps/default/{name}"


def put(name: str, uid: str, value: str, expected: int | None = None) -> Put:
    return Put(key(name), VALUE % (uid.encode(), value.encode()), expected)


def values(records: dict[str, Record]) -> dict[str, bytes]:
    return {key: record.value[record.value.index(b'"data"') :] for key, record in records.items()}


async def test_a_restored_store_is_as_it_was_and_its_revisions_rise(store: Store, tmp_path: Path) -> None:
    await store.commit([put("same", "1", "a"), put("changed", "2", "a"), put("gone", "3", "a"), put("again", "4", "a")])
    kept = store.get(key("same"))
    snapshot.write(tmp_path / "s.snapshot", store.image(), {"cluster": "c"})
    await store.commit(
        [put("changed", "2", "b"), Put(key("gone"), None), Put(key("again"), None), put("new", "5", "a")]
    )
    await store.commit([put("again", "6", "a")])
    newest = store.revision
    watch = store.watch("/registry/")
    found = await asyncio.to_thread(snapshot.read, tmp_path / "s.snapshot")
    assert found.about["cluster"] == "c" and found.about["objects"] == "4"
    changed = await snapshot.restore(store, found)
    assert changed == 5
    assert values(dict(store.image().records)) == values(dict(found.image.records))
    assert store.get(key("same")) == kept, "what did not change has no new revision"
    events = await collected(watch, 5)
    assert all(event.revision > newest for event in events)
    # who was replaced by another object of its name is seen to go first
    assert [event.deleted for event in events if event.record.key == key("again")] == [True, False]
    assert await snapshot.restore(store, found) == 0


async def collected(watch: PrefixWatch | object, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(60):
        async for batch in watch:  # type: ignore[attr-defined]
            found += batch
            if len(found) >= count:
                break
    return found


async def test_a_restore_wins_against_writers(store: Store, tmp_path: Path) -> None:
    await store.commit([put("a", "1", "kept"), put("b", "2", "kept")])
    snapshot.write(tmp_path / "s.snapshot", store.image(), {})
    found = snapshot.read(tmp_path / "s.snapshot")
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await store.commit([put("a", "1", str(number))])

    writer = asyncio.create_task(write())
    await asyncio.sleep(0)
    await snapshot.restore(store, found)
    stop.set()
    await writer
    assert values(dict(store.image().records))[key("b")] == b'"data":{"v":"kept"}}'


async def test_many_objects_fit(store: Store, tmp_path: Path) -> None:
    for start in range(0, 300, 100):
        await store.commit([put(f"n{index}", str(index), "a", 0) for index in range(start, start + 100)])
    snapshot.write(tmp_path / "s.snapshot", store.image(), {})
    for start in range(0, 300, 100):
        await store.commit([Put(key(f"n{index}"), None) for index in range(start, start + 100)])
    assert await snapshot.restore(store, snapshot.read(tmp_path / "s.snapshot")) == 300
    assert len((await store.page("/registry/configmaps/")).records) == 300


async def test_an_image_of_a_snapshot_is_forked_at_once(tmp_path: Path) -> None:
    store = SqliteStore()
    await store.commit([put("a", "1", "x"), Put("/registry/masterleases/1.2.3.4:6443", b'{"metadata":{"name":"m"}}')])
    snapshot.write(tmp_path / "s.snapshot", store.image(), {})
    image = snapshot.read(tmp_path / "s.snapshot").image
    fork = SqliteStore(image=image)
    assert fork.revision == store.revision and fork.get(key("a")) == store.get(key("a"))
    assert list(image.records) == [key("a")], "a server's own place is not part of it"


async def test_only_its_owner_reads_it_and_nothing_is_left_beside(tmp_path: Path) -> None:
    store = SqliteStore()
    await store.commit([put("a", "1", "x")])
    folder = tmp_path / "new"
    snapshot.write(folder / "s.snapshot", store.image(), {})
    snapshot.write(folder / "s.snapshot", store.image(), {"again": "yes"})
    assert [file.name for file in folder.iterdir()] == ["s.snapshot"]
    assert stat.S_IMODE((folder / "s.snapshot").stat().st_mode) == 0o600
    assert snapshot.about(folder / "s.snapshot")["again"] == "yes"


async def test_a_snapshot_is_sealed_as_the_store_is(tmp_path: Path) -> None:
    keys = {"keys": [{"name": "k", "secret": "MDEyMzQ1Njc4OWFiY2RlZg=="}]}
    rules = [{"resources": ["configmaps"], "providers": [{"aesgcm": keys}]}]
    sealing = parse({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": rules})
    store = SqliteStore()
    (record,) = await store.commit([put("a", "1", "hunter2")])
    path = tmp_path / "s.snapshot"
    snapshot.write(path, store.image(), {}, sealing)
    assert b"hunter2" not in path.read_bytes()
    assert snapshot.read(path, sealing).image.records[key("a")] == record
    with pytest.raises(StoreError, match="no key for it is configured"):
        snapshot.read(path)


async def test_what_is_no_snapshot_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.snapshot"
    with pytest.raises(StoreError, match="there is no snapshot"):
        snapshot.read(path)
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match=r"s\.snapshot is no snapshot"):
        snapshot.read(path)
    store = SqliteStore(tmp_path / "store.db")
    await store.close()
    with pytest.raises(StoreError, match="has format 3,"):
        snapshot.read(tmp_path / "store.db")
    many = SqliteStore()
    await many.commit([put(f"n{index}", str(index), "a" * 50) for index in range(500)])
    snapshot.write(path, many.image(), {})
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.snapshot is (no snapshot, or )?damaged"):
        snapshot.read(path)
    with pytest.raises(StoreError, match="cannot be written"):
        snapshot.write(Path("/proc/nowhere/s.snapshot"), many.image(), {})


def test_a_snapshot_that_cannot_be_written_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("sampan.store.snapshot.sqlite3.connect", full)
    with pytest.raises(StoreError, match="full"):
        snapshot.write(tmp_path / "folder" / "a.snapshot", Image.of({}, 1), {})
    assert not (tmp_path / "folder").exists()
