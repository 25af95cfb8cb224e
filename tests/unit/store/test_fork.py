"""Forks: a store in memory that begins with the state of another, and is then on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.store import Compacted, Put
from sampan.store.sqlite import SqliteStore

POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"},"spec":{}}'


def key(name: str) -> str:
    return f"/registry/pods/default/{name}"


def put(name: str, expected: int | None = None) -> Put:
    return Put(key(name), POD % name.encode(), expected)


async def keys(store: SqliteStore, revision: int = 0) -> list[str]:
    return [record.key for record in (await store.page("/registry/", revision=revision)).records]


@pytest.mark.parametrize("on_disk", [False, True])
async def test_a_fork_has_the_state_and_shares_its_records(tmp_path: Path, on_disk: bool) -> None:
    store = SqliteStore(tmp_path / "s.db" if on_disk else None)
    await store.commit([put("b", 0), put("a", 0)])
    fork = store.fork()
    assert fork.revision == store.revision and await keys(fork) == [key("a"), key("b")]
    assert fork.get(key("a")) is store.get(key("a"))
    await store.close()
    await fork.close()


async def test_forks_do_not_see_each_other() -> None:
    store = SqliteStore()
    (first,) = await store.commit([put("a", 0)])
    image = store.image()
    one, two = SqliteStore(image=image), SqliteStore(image=image)
    watch = two.watch("/registry/")
    await one.commit([Put(key("a"), None, first.revision)])
    await one.commit([put("c", 0)])
    (written,) = await two.commit([put("b", 0)])
    assert await keys(one) == [key("c")] and await keys(two) == [key("a"), key("b")] and await keys(store) == [key("a")]
    assert written.revision == image.revision + 1
    assert [event.record.key for event in await anext(watch)] == [key("b")]
    assert SqliteStore(image=image).get(key("a")) == first


async def test_a_fork_has_no_history_of_before() -> None:
    store = SqliteStore()
    await store.commit([put("a", 0)])
    await store.commit([put("b", 0)])
    fork = store.fork()
    with pytest.raises(Compacted):
        fork.watch("/registry/", since=fork.revision - 1)
    at = fork.revision
    await fork.commit([put("c", 0)])
    assert await keys(fork, revision=at) == [key("a"), key("b")]
    assert [event.record.key for event in await anext(fork.watch("/registry/", since=at))] == [key("c")]
