"""What every store must do, on each of them: revisions, conflicts, pages, watches, history, times to live."""

from __future__ import annotations

import asyncio

import pytest

from sampan.store import Compacted, Conflict, Event, FutureRevision, Put, Store, StoreError, Watch

POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"},"spec":{}}'


def key(name: str) -> str:
    return f"/registry/pods/default/{name}"


def put(name: str, expected: int | None = None, ttl: int = 0) -> Put:
    return Put(key(name), POD % name.encode(), expected, ttl_seconds=ttl)


async def events_of(watch: Watch, count: int) -> list[Event]:
    """Return the next events of a watch; they may come in several batches."""
    found: list[Event] = []
    async with asyncio.timeout(60):
        async for batch in watch:
            found += batch
            if len(found) >= count:
                break
    return found


async def test_revisions_are_spliced(store: Store) -> None:
    before = store.revision
    (record,) = await store.commit([put("a", 0)])
    # an etcd gives revisions to what others write as well, so a store may be further than its own last write
    assert before < record.revision <= store.revision
    spliced = b'{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"%d","name":"a"},"spec":{}}'
    assert record.value == spliced % record.revision
    assert store.get(key("a")) == record
    (second,) = await store.commit([put("a", record.revision)])
    assert second.create_revision == record.revision and second.revision > record.revision
    assert second.value == spliced % second.revision


async def test_conflicts(store: Store) -> None:
    (record,) = await store.commit([put("a", 0)])
    with pytest.raises(Conflict) as exists:
        await store.commit([put("a", 0)])
    assert exists.value.current == record and exists.value.key == key("a")
    with pytest.raises(Conflict) as behind:
        await store.commit([put("new", 0), put("a", record.revision + 99)])
    assert behind.value.current == record and store.get(key("new")) is None
    with pytest.raises(Conflict) as missing:
        await store.commit([put("new", record.revision)])
    assert missing.value.current is None
    with pytest.raises(Conflict):
        await store.commit([Put(key("new"), None, record.revision)])
    with pytest.raises(Conflict):
        await store.commit([Put(key("a"), None, record.revision + 99)])


async def test_a_write_without_expectations_never_conflicts(store: Store) -> None:
    first, second = await asyncio.gather(store.commit([put("a")]), store.commit([put("a")]))
    earlier, later = sorted(record.revision for record in first + second)
    assert earlier < later <= store.revision
    current = store.get(key("a"))
    assert current is not None and (current.create_revision, current.revision) == (earlier, later)


async def test_one_of_many_wins(store: Store) -> None:
    results = await asyncio.gather(*[store.commit([put("a", 0)]) for _ in range(20)], return_exceptions=True)
    assert sum(isinstance(result, list) for result in results) == 1
    losers = [result for result in results if isinstance(result, Conflict)]
    assert len(losers) == 19 and all(loser.current == store.get(key("a")) for loser in losers)


async def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    (old,) = await store.commit([put("old", 0)])
    watch = store.watch("/registry/")
    records = await store.commit([put("a", 0), Put(key("old"), None, old.revision), put("b", 0)])
    assert [record.key for record in records] == [key("a"), key("old"), key("b")]
    events = await events_of(watch, 3)
    assert {(event.record.key, event.deleted) for event in events} == {
        (key("a"), False),
        (key("old"), True),
        (key("b"), False),
    }
    assert store.get(key("old")) is None and store.get(key("a")) is not None


async def test_delete(store: Store) -> None:
    (record,) = await store.commit([put("a", 0)])
    watch = store.watch("/registry/pods/")
    (deleted,) = await store.commit([Put(key("a"), None, record.revision, last=POD % b"last")])
    assert store.get(key("a")) is None and record.revision < deleted.revision <= store.revision
    assert b'"resourceVersion":"%d","name":"last"' % deleted.revision in deleted.value
    (event,) = await anext(watch)
    assert event.deleted and event.previous == record and event.revision == deleted.revision
    assert b'"metadata":{"resourceVersion":"%d","name":"' % deleted.revision in event.record.value
    assert await store.commit([Put(key("a"), None)]) == []
    (again,) = await store.commit([put("a", 0)])
    assert again.create_revision == again.revision


async def test_pages(store: Store) -> None:
    for name in "abcd":
        await store.commit([put(name, 0)])
    await store.commit([Put("/registry/podtemplates/default/x", POD % b"x", 0)])
    page = await store.page("/registry/pods/", limit=3)
    assert [record.key[-1] for record in page.records] == ["a", "b", "c"]
    assert (page.more, page.remaining, page.revision) == (True, 1, store.revision)
    rest = await store.page("/registry/pods/", after=page.records[-1].key)
    assert [record.key[-1] for record in rest.records] == ["d"] and not rest.more


async def test_keys_of_every_kind_come_back(store: Store) -> None:
    """etcd has Kubernetes' own layout, with no group for built-in resources."""
    keys = [
        "/registry/deployments/default/web",
        "/registry/ingress/default/web",
        "/registry/services/specs/default/web",
        "/registry/minions/node-1",
        "/registry/stable.example.com/crontabs/default/deployments",
        "/registry/apiextensions.k8s.io/customresourcedefinitions/crontabs.stable.example.com",
        "/registry/clusterroles/admin",
    ]
    await store.commit([Put(at, POD % b"x", 0) for at in keys])
    assert [record.key for record in (await store.page("/registry/")).records] == sorted(keys)
    for at in keys:
        prefix = at.rpartition("/")[0] + "/"
        assert [record.key for record in (await store.page(prefix)).records] == [at]


async def test_pages_of_the_past(store: Store) -> None:
    written = [(await store.commit([put(name, 0)]))[0].revision for name in "abc"]
    then = store.revision
    await store.commit([Put(key("a"), None)])
    await store.commit([put("b")])
    await store.commit([put("d", 0)])
    page = await store.page("/registry/pods/", revision=then)
    assert [record.key[-1] for record in page.records] == ["a", "b", "c"]
    assert [record.revision for record in page.records] == written
    part = await store.page("/registry/pods/", revision=then, limit=1, after=key("a"))
    assert [record.key[-1] for record in part.records] == ["b"] and part.remaining == 1
    with pytest.raises(FutureRevision):
        await store.page("/registry/pods/", revision=store.revision + 1000)
    await store.compact(store.revision)
    with pytest.raises(Compacted):
        await store.page("/registry/pods/", revision=then)


async def test_watch_from_the_past(store: Store) -> None:
    first, second, third = [(await store.commit([put(name, 0)]))[0].revision for name in "abc"]
    watch = store.watch("/registry/pods/", since=first)
    assert [event.revision for event in await events_of(watch, 2)] == [second, third]
    await store.compact(second)
    with pytest.raises(Compacted):
        store.watch("/registry/pods/", since=first)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_watches_see_their_prefix_in_order(store: Store) -> None:
    watch, one, other = (store.watch(prefix) for prefix in ("/registry/pods/", key("b"), "/registry/secrets/"))
    for name in "abcabc":
        await store.commit([put(name)])
    await store.commit([Put("/registry/secrets/default/s", POD % b"s", 0)])
    events = await events_of(watch, 6)
    assert [event.record.key[-1] for event in events] == list("abcabc")
    assert [event.revision for event in events] == sorted(event.revision for event in events)
    assert [event.previous is None for event in events] == [True] * 3 + [False] * 3
    assert events[3].previous == events[0].record
    assert [event.record.key for event in await events_of(one, 2)] == [key("b")] * 2
    assert [event.record.key for event in await events_of(other, 1)] == ["/registry/secrets/default/s"]


async def test_a_slow_watcher_is_ended_and_costs_others_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.store.watchers.BUFFERED_EVENTS", 3)
    slow, quick = store.watch("/registry/"), store.watch("/registry/")
    for name in "abcde":
        await store.commit([put(name, 0)])
        assert [event.record.key for event in await anext(quick)] == [key(name)]
    with pytest.raises(StoreError, match="behind"):
        while True:
            await anext(slow)


async def test_a_past_too_long_for_a_watcher_is_not_told_in_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = await store.commit([put("first", 0)])
    for name in "abcdef":
        await store.commit([put(name, 0)])
    monkeypatch.setattr("sampan.store.watchers.BUFFERED_EVENTS", 3)
    with pytest.raises(StoreError, match="behind"):
        await anext(store.watch("/registry/", since=first.revision))


async def test_a_watcher_behind_what_is_kept_is_ended(store: Store) -> None:
    """Else what is forgotten would stay in memory for as long as somebody reads slowly."""
    slow, quick = store.watch("/registry/"), store.watch("/registry/")
    for name in "abc":
        (record,) = await store.commit([put(name, 0)])
        assert [event.record.key for event in await anext(quick)] == [key(name)]
    await store.compact(record.revision)
    with pytest.raises(StoreError, match="behind what is kept"):
        await anext(slow)
    await store.commit([put("d", 0)])
    assert [event.record.key for event in await anext(quick)] == [key("d")]


async def test_a_cancelled_writer_harms_nobody(store: Store) -> None:
    first = asyncio.create_task(store.commit([put("a", 0)]))
    second = asyncio.create_task(store.commit([put("b", 0)]))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await asyncio.gather(first, return_exceptions=True)
    assert store.get(key("b")) is not None


async def test_a_key_goes_when_its_time_is_over(store: Store) -> None:
    (record,) = await store.commit([put("event", 0, ttl=1)])
    watch = store.watch("/registry/", since=record.revision)
    await store.commit([put("kept", 0)])
    (event,) = [event for event in await events_of(watch, 2) if event.record.key == key("event")]
    assert event.deleted and event.previous == record and store.get(key("event")) is None
    assert store.get(key("kept")) is not None


async def test_a_later_write_decides_how_long_a_key_lives(store: Store) -> None:
    (record,) = await store.commit([put("a", 0, ttl=1)])
    await store.commit([put("a", record.revision)])
    (brief,) = await store.commit([put("b", 0, ttl=1)])
    watch = store.watch("/registry/", since=brief.revision)
    (event,) = await events_of(watch, 1)
    assert event.record.key == key("b")
    assert store.get(key("a")) is not None


async def test_reads_are_fresh(store: Store) -> None:
    await asyncio.gather(*[store.fresh() for _ in range(20)])
    (record,) = await store.commit([put("a", 0)])
    await store.fresh()
    assert store.get(key("a")) == record and store.trouble() is None


async def test_a_closed_store_says_so(store: Store) -> None:
    watch = store.watch("/registry/")
    await store.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    with pytest.raises(StoreError, match="closed"):
        await store.commit([put("a", 0)])
    with pytest.raises(StoreError, match="closed"):
        store.watch("/registry/")
