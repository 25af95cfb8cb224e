"""Writes are durable once SQLite's log is synced: by the kernel beside the loop, or by a thread; a failed one is undone."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from sampan.store import NoSpace, Put, StoreError, database
from sampan.store.kernel_sync import KernelSync, NotTaken
from sampan.store.sqlite import SqliteStore

POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"},"spec":{}}'


def put(name: str, expected: int | None = None, size: int = 0) -> Put:
    value = POD % name.encode()
    return Put(key(name), value[:-1] + b',"x":"%b"}' % (b"y" * size) if size else value, expected)


def key(name: str) -> str:
    return f"/registry/pods/default/{name}"


class Syncs:
    """Counts the syncs of both kinds, and lets those fail that are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, kernel: bool) -> None:
        self.kernel, self.by_kernel, self.by_thread = kernel, 0, 0
        self.fails: list[OSError] = []
        kernel_sync, file_sync = KernelSync.sync, database._sync

        async def in_kernel(sync: KernelSync) -> None:
            self.by_kernel += 1
            await kernel_sync(sync)
            self._fail()

        def in_thread(fd: int) -> None:
            self.by_thread += 1
            file_sync(fd)
            self._fail()

        monkeypatch.setattr(KernelSync, "sync", in_kernel)
        monkeypatch.setattr(database, "_sync", in_thread)
        if not kernel:
            monkeypatch.setattr(KernelSync, "open", lambda fd: None)

    def _fail(self) -> None:
        if self.fails:
            raise self.fails.pop(0)


def there_is_kernel_sync(path: Path) -> bool:
    fd = os.open(path / "any", os.O_RDWR | os.O_CREAT)
    found = KernelSync.open(fd)
    if found is not None:
        found.close()
    os.close(fd)
    return found is not None


@pytest.fixture(params=["kernel", "thread"])
def syncs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncs:
    if request.param == "kernel" and not there_is_kernel_sync(tmp_path):
        pytest.skip("this kernel syncs nothing beside us")
    return Syncs(monkeypatch, kernel=request.param == "kernel")


async def test_a_group_is_synced_once_before_it_is_answered(tmp_path: Path, syncs: Syncs) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await asyncio.gather(*(store.commit([put(f"p{number}", 0)]) for number in range(10)))
    assert syncs.by_kernel + syncs.by_thread == 1
    await store.commit([put("large", 0, size=300_000)])
    assert syncs.by_thread >= 1  # never by the loop
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(key("p9")) is not None and again.get(key("large")) is not None
    await again.close()


@pytest.mark.parametrize(("number", "refused"), [(errno.ENOSPC, NoSpace), (errno.EIO, StoreError)])
async def test_what_is_not_synced_is_taken_back(
    tmp_path: Path, syncs: Syncs, number: int, refused: type[StoreError]
) -> None:
    store = SqliteStore(tmp_path / "s.db")
    (kept,) = await store.commit([put("kept", 0)])
    syncs.fails = [OSError(number, "the disk does not want to")]
    with pytest.raises(refused, match="cannot write"):
        await store.commit([put("kept", kept.revision, size=10), put("lost", 0)])
    assert store.get(key("kept")) == kept and store.get(key("lost")) is None
    (after,) = await store.commit([Put(key("kept"), None)])
    await store.compact(after.revision)
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(key("kept")) is None and again.get(key("lost")) is None  # neither came back to life
    await again.close()


async def test_nothing_is_written_before_what_failed_is_gone(
    tmp_path: Path, syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.commit([put("kept", 0)])
    take_back, broken = database.Database._take_back, True

    def refuse(self: database.Database) -> None:
        if broken:
            raise StoreError("cannot write: still broken")
        take_back(self)

    monkeypatch.setattr(database.Database, "_take_back", refuse)
    syncs.fails = [OSError(errno.EIO, "broken")]
    with pytest.raises(StoreError, match="broken"):
        await store.commit([put("lost", 0)])
    with pytest.raises(StoreError, match="still broken"):
        await store.commit([put("other", 0)])
    broken = False
    await store.commit([put("other", 0)])
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(key("lost")) is None and again.get(key("other")) is not None
    await again.close()


async def test_the_log_begins_anew_when_it_is_long(tmp_path: Path, syncs: Syncs) -> None:
    store = SqliteStore(tmp_path / "s.db")
    for number in range(60):
        await store.commit([put(f"p{number % 3}", size=200_000)])
    assert (tmp_path / "s.db-wal").stat().st_size < 60 * 200_000 * 0.8
    assert (tmp_path / "s.db").stat().st_size > 20 * 200_000
    await store.close()


async def test_where_the_kernel_takes_no_request_a_thread_syncs(
    tmp_path: Path, syncs: Syncs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``io_setup`` may be allowed and ``io_submit`` not: by a sandbox, an old kernel, a file system without such a sync."""
    if not there_is_kernel_sync(tmp_path):
        pytest.skip("this kernel syncs nothing beside us")

    async def refused(sync: KernelSync) -> None:
        raise NotTaken("io_submit: Operation not permitted")

    monkeypatch.setattr(KernelSync, "sync", refused)
    store = SqliteStore(tmp_path / "s.db")
    before = syncs.by_thread
    await store.commit([put("a", 0)])
    await store.commit([put("b", 0)])
    assert syncs.by_thread == before + 2
    assert caplog.text.count("is synced by a thread from now on") == (1 if syncs.kernel else 0)
    syncs.fails = [OSError(errno.EIO, "broken")]
    with pytest.raises(StoreError, match="cannot write"):
        await store.commit([put("lost", 0)])
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    assert again.get(key("b")) is not None and again.get(key("lost")) is None
    await again.close()


async def test_the_kernel_says_what_it_does_not_take(tmp_path: Path) -> None:
    if not there_is_kernel_sync(tmp_path):
        pytest.skip("this kernel syncs nothing beside us")
    reader, writer = os.pipe()
    sync = KernelSync.open(writer)
    assert sync is not None
    with pytest.raises(NotTaken, match="Invalid argument"):
        await sync.sync()
    sync.close()
    for fd in (reader, writer):
        os.close(fd)


async def test_a_fork_syncs_by_itself_and_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    """The kernel's queue is the parent's: a child that asked for it would be told that there is none."""
    if not there_is_kernel_sync(tmp_path):
        pytest.skip("this kernel syncs nothing beside us")
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    sync = KernelSync.open(fd)
    assert sync is not None
    await sync.sync()
    child = os.fork()
    if not child:
        try:
            sync.submit()
        except NotTaken:
            sync.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    async with asyncio.timeout(60):
        await sync.sync()  # the loop still hears of it
    sync.close()
    os.close(fd)
