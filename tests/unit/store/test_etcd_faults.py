"""What happens to a store on etcd when etcd goes, comes back, forgets, or is not whom it should be."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sampan.store import Conflict, Event, Put, Store, StoreError, Unavailable, Unknown, Watch
from sampan.store import etcd_pb2 as pb
from sampan.store.etcd import EtcdStore
from sampan.store.etcd_address import absolute, parse
from tests.conftest import Authority
from tests.etcd_server import Etcd, free_port, installed, running

pytestmark = pytest.mark.skipif(not installed(), reason="etcd is not installed (apt-get install etcd-server)")
VALUE = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"v":"%b"}}'


def key(name: str) -> str:
    return f"/registry/configmaps/default/{name}"


def put(name: str, value: str = "", expected: int | None = None) -> Put:
    return Put(key(name), VALUE % value.encode(), expected)


async def seen(watch: Watch, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(60):
        async for batch in watch:
            found += batch
            if len(found) >= count:
                break
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Etcd]:
    """An etcd of the test's own, to be stopped."""
    with running(tmp_path / "etcd") as etcd:
        yield etcd


@pytest.fixture
async def two(etcd_url: str) -> AsyncIterator[tuple[EtcdStore, EtcdStore]]:
    one, other = await EtcdStore.open(etcd_url), await EtcdStore.open(etcd_url)
    yield one, other
    await one.close()
    await other.close()


async def test_a_read_after_fresh_sees_what_another_server_answered(two: tuple[EtcdStore, EtcdStore]) -> None:
    one, other = two
    for index in range(100):
        (record,) = await one.commit([put("a", str(index))])
        await other.fresh()
        assert other.get(key("a")) == record


@pytest.mark.parametrize("ordered", [False, True])
async def test_fresh_returns_where_others_spent_revisions(
    two: tuple[EtcdStore, EtcdStore], etcd: Etcd, ordered: bool
) -> None:
    """No event of ours comes for them: the watch is asked how far it is, in both ways that versions of etcd have."""
    store = two[0]
    store._progress_is_ordered = ordered
    foreign = await EtcdStore.open(f"{etcd.url}/{uuid.uuid4()}")
    for _ in range(3):
        (record,) = await foreign.commit([put("a")])
        await store.fresh()
        assert store.revision >= record.revision
    await foreign.close()


async def test_a_loser_reads_what_won(two: tuple[EtcdStore, EtcdStore]) -> None:
    """A conflict is told when memory has what conflicts, so that trying again begins with it."""
    one, other = two
    for index in range(30):
        current = one.get(key("a"))
        (won,) = await one.commit([put("a", str(index))])
        with pytest.raises(Conflict) as conflict:
            await other.commit([put("a", "late", current.revision if current else 0)])
        assert conflict.value.current == won == other.get(key("a"))


async def test_many_writers_count_without_losing_one(two: tuple[EtcdStore, EtcdStore]) -> None:
    async def add(store: Store) -> None:
        while True:
            record = store.get(key("count"))
            number = int(record.value.split(b'"v":"')[1].split(b'"')[0]) if record else 0
            try:
                await store.commit([put("count", str(number + 1), record.revision if record else 0)])
                return
            except Conflict:
                continue

    await asyncio.gather(*[add(store) for _ in range(25) for store in two])
    await two[0].fresh()
    record = two[0].get(key("count"))
    assert record is not None and b'"v":"50"' in record.value


async def test_a_watch_goes_on_after_etcd_was_away(own: Etcd) -> None:
    store, other = await EtcdStore.open(own.url), await EtcdStore.open(own.url)
    watch = store.watch("/registry/")
    await store.commit([put("before")])
    await asyncio.to_thread(own.stop)
    with pytest.raises(StoreError):
        await store.commit([put("meanwhile")])
    with pytest.raises(Unavailable):
        await store.fresh()
    assert store.trouble() and store.get(key("before")) is not None
    await asyncio.to_thread(own.start)
    await other.commit([put("after")])
    names = [event.record.key for event in await seen(watch, 2)]
    assert names == [key("before"), key("after")]
    await store.fresh()
    assert store.trouble() is None
    await store.close()
    await other.close()


async def test_what_was_forgotten_meanwhile_begins_anew(own: Etcd) -> None:
    store = await EtcdStore.open(own.url)
    (old,) = await store.commit(
        [
            put("a", "old"),
        ]
    )
    watch = store.watch("/registry/")
    next(task for task in store._tasks if task.get_name() == "store-follow").cancel()  # as if the network were cut
    other = await EtcdStore.open(own.url)
    for index in range(5):
        await other.commit([put("a", str(index))])
    await other.compact(other.revision)
    store._run("store-follow", store._follow())
    with pytest.raises(StoreError, match="history before"):
        await seen(watch, 5)
    await store.fresh()
    assert store.get(key("a")) == other.get(key("a")) != old
    with pytest.raises(StoreError):
        store.watch("/registry/", since=old.revision)
    await store.close()
    await other.close()


async def test_another_member_answers_when_the_first_is_gone(own: Etcd) -> None:
    dead = free_port()
    store = await EtcdStore.open(f"etcd://127.0.0.1:{dead},127.0.0.1:{own.port}")
    await store.commit([put("a")])
    assert store._client.endpoint == f"127.0.0.1:{own.port}"
    await store.close()
    with pytest.raises(Unavailable, match=f"etcd does not answer at 127.0.0.1:{dead}: "):
        await EtcdStore.open(f"etcd://127.0.0.1:{dead}")


async def test_a_write_whose_fate_nobody_knows_is_told_so(own: Etcd) -> None:
    store = await EtcdStore.open(own.url)
    await store.commit([put("a")])
    writes = [asyncio.create_task(store.commit([put(f"n{index}")])) for index in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(own.stop)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(result, (list, Unknown, Unavailable)) for result in results), results
    await asyncio.to_thread(own.start)
    again = await EtcdStore.open(own.url)
    for index, result in enumerate(results):
        stored = again.get(key(f"n{index}")) is not None
        assert stored if isinstance(result, list) else not (stored and isinstance(result, Unavailable))
    await store.close()
    await again.close()


async def test_a_write_that_memory_does_not_see_is_no_failed_write(
    two: tuple[EtcdStore, EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 would have clients write again."""
    one, other = two
    monkeypatch.setattr("sampan.store.etcd.REACH_SECONDS", 0.05)
    monkeypatch.setattr(one, "_take", lambda response: None)
    with pytest.raises(Unknown, match="is written, but memory does not follow"):
        await one.commit([put("a", "there", 0)])
    await other.fresh()
    assert other.get(key("a")) is not None
    with pytest.raises(Unavailable):
        await one.commit([put("a", "again", 0)])
    with pytest.raises(Unavailable):
        await one.fresh()


async def test_nobody_waits_for_a_fresh_read_of_a_store_that_closes(
    etcd_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await EtcdStore.open(etcd_url)
    asked = asyncio.Event()

    async def silent(request: pb.RangeRequest) -> pb.RangeResponse:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    monkeypatch.setattr(store._client, "range", silent)
    reading = asyncio.create_task(store.fresh())
    await asked.wait()
    await store.close()
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await reading


async def test_servers_take_turns_to_compact(two: tuple[EtcdStore, EtcdStore]) -> None:
    one, other = two
    for index in range(5):
        await one.commit([put("a", str(index))])
    target = one.revision
    await one.fresh()
    await other.fresh()
    # whoever knows the newest turn compacts; the other one learns of it
    turn = one._compaction.turn
    for store in (one, other, one, other):
        await store._compaction.in_turn(target, store.revision)
    assert one._compaction.turn > turn
    request = pb.RangeRequest(key=one.address.root.encode(), revision=target - 2)
    with pytest.raises(StoreError, match="compacted"):
        await one._client.range(request)


async def test_tls_knows_whom_it_talks_to(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.write("client", "sampan", ())
    files = {name: str(tmp_path / "pki" / name) for name in ("ca.crt", "apiserver.crt", "apiserver.key")}
    options = ["--cert-file", files["apiserver.crt"], "--key-file", files["apiserver.key"]]
    options += ["--client-cert-auth", "--trusted-ca-file", files["ca.crt"]]
    with running(tmp_path / "etcd", tuple(options), "https") as etcd:
        at = f"etcds://127.0.0.1:{etcd.port}"
        url = absolute(f"{at}?cacert=pki/ca.crt&cert=pki/client.crt&key=pki/client.key", tmp_path)
        store = await EtcdStore.open(url)
        (record,) = await store.commit([put("a")])
        assert store.get(key("a")) == record
        await store.close()
        with pytest.raises(Unavailable):  # nobody without a certificate
            await EtcdStore.open(absolute(f"{at}?cacert=pki/ca.crt", tmp_path))
        Authority(tmp_path / "other")
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await EtcdStore.open(absolute(f"{at}?cacert=other/ca.crt", tmp_path))
        with pytest.raises(Unavailable):  # not in the clear
            await EtcdStore.open(etcd.url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://x", "is no store"),
        ("etcd://", "names no host"),
        ("etcd://host:port", "'host:port' is not HOST:PORT"),
        ("etcd://a:1?cacert=x", "cacert need etcds://"),
        ("etcds://a:1?ca=x", "unknown parameter 'ca'"),
        ("etcds://a:1?key=x", "key needs cert"),
    ],
)
def test_a_wrong_address_is_named(url: str, told: str) -> None:
    with pytest.raises(StoreError, match=told):
        parse(url)


def test_addresses() -> None:
    address = parse("etcds://a,b:1,[::1]:5/cluster-1?cacert=/x")
    assert address.endpoints == (("a", 2379), ("b", 1), ("::1", 5)) and address.root == "/cluster-1/"
    assert parse("etcd://a").root == "/registry/"
    with pytest.raises(StoreError, match="cannot be used"):
        absolute("etcds://a?cacert=nowhere.crt", Path("/nowhere"))


async def test_a_lease_that_etcd_has_lost_is_replaced(two: tuple[EtcdStore, EtcdStore]) -> None:
    store = two[0]
    event = Put(key("event"), VALUE % b"event", 0, ttl_seconds=600)
    await store.commit([event])
    (lease,) = store._leases._leases.values()
    lease.id += 1  # as after a restore of etcd, or where this machine slept: there is none of this number
    (record,) = await store.commit([event._replace(expected=None)])
    assert store.get(key("event")) == record
    (now,) = store._leases._leases.values()
    assert now.id != lease.id
