"""Histories of concurrent reads and writes, as clients saw them, could have happened one after the other."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.store import Conflict, Put, Store, Unavailable, Unknown
from sampan.store.etcd import EtcdStore
from sampan.store.sqlite import SqliteStore
from tests.etcd_server import Etcd, installed, running
from tests.linearizability import NEVER, Operation, linearizable

needs_etcd = pytest.mark.skipif(not installed(), reason="etcd is not installed (apt-get install etcd-server)")


def op(kind: str, start: float, end: float, **rest: object) -> Operation:
    return Operation(kind, start, end, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("history", "right"),
    [
        ([op("write", 0, 1, value="a"), op("read", 2, 3, result="a")], True),
        ([op("write", 0, 1, value="a"), op("read", 2, 3, result=None)], False),  # stale
        ([op("write", 0, 9, value="a"), op("read", 1, 2, result="a"), op("read", 3, 4, result=None)], False),  # back
        ([op("write", 0, 9, value="a"), op("read", 1, 2, result=None), op("read", 3, 4, result="a")], True),
        ([op("read", 0, 1, result="a"), op("write", 2, 3, value="a")], False),  # from the future
        ([op("write", 0, NEVER, value="a"), op("read", 1, 2, result=None), op("read", 3, 4, result="a")], True),
        ([op("write", 0, NEVER, value="a"), op("read", 1, 2, result=None)], True),
        ([op("create", 0, 5, value="a", result=True), op("create", 0, 5, value="b", result=True)], False),
        ([op("create", 0, 5, value="a", result=True), op("create", 0, 5, value="b", result=False)], True),
        (
            [
                op("write", 0, 1, value="a"),
                op("swap", 2, 5, expected="a", value="b", result=True),
                op("swap", 2, 5, expected="a", value="c", result=True),  # a lost update
            ],
            False,
        ),
    ],
)
def test_the_checker(history: list[Operation], right: bool) -> None:
    assert linearizable(history) is right


@given(st.data())
def test_the_checker_takes_what_happened_one_after_the_other(data: st.DataObject) -> None:
    state: str | None = None
    history = []
    for index in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            state = str(index)
            operation = Operation("write", index, index, state)
        else:
            operation = Operation("read", index, index, result=state)
        slack = data.draw(st.floats(0, 5)), data.draw(st.floats(0, 5))
        history.append(operation._replace(start=index - slack[0], end=index + slack[1]))
    assert linearizable(history)
    assert not linearizable([*history, Operation("read", 100, 101, result="never written")])


# the stores

KEYS = ("a", "b", "c")
CLIENTS, OPERATIONS = 6, 40
VALUE = b'{"metadata":{"name":"x"},"v":"%b"}'


def key(name: str) -> str:
    return f"/registry/configmaps/default/{name}"


class Recorder:
    """Clients that read and write at random, and what they saw."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.values = itertools.count()
        self.histories: dict[str, list[Operation]] = {name: [] for name in KEYS}

    async def client(self, store: Store) -> None:
        known: dict[str, tuple[int, str]] = {}
        for _ in range(OPERATIONS):
            name = self.random.choice(KEYS)
            kind = self.random.choice(["read", "read", "write", "create", "swap", "delete"])
            value = None if kind == "delete" else str(next(self.values))
            start = time.perf_counter()
            try:
                operation = await self._do(store, name, kind, value, known)
                operation = operation._replace(start=start, end=time.perf_counter())
            except Unknown:
                operation = self._unanswered(kind, start, value, known.get(name))
            except Unavailable:
                await asyncio.sleep(0.02)  # nothing was written or read
                continue
            self.histories[name].append(operation)
            await asyncio.sleep(self.random.random() * 0.002)

    async def _do(
        self, store: Store, name: str, kind: str, value: str | None, known: dict[str, tuple[int, str]]
    ) -> Operation:
        if kind == "read":
            await store.fresh()
            record = store.get(key(name))
            seen = record.value.split(b'"v":"')[1].split(b'"')[0].decode() if record else None
            if record and seen is not None:
                known[name] = (record.revision, seen)
            return Operation("read", 0, 0, result=seen)
        if kind == "delete":
            await store.commit([Put(key(name), None)])
            return Operation("write", 0, 0, None)
        assert value is not None
        expected, old = {"write": (None, None), "create": (0, None), "swap": known.get(name, (0, None))}[kind]
        try:
            (record,) = await store.commit([Put(key(name), VALUE % value.encode(), expected)])
            known[name] = (record.revision, value)
            won = True
        except Conflict:
            won = False
        if kind == "write":
            return Operation("write", 0, 0, value)
        if kind == "create" or old is None:
            return Operation("create", 0, 0, value, result=won)
        return Operation("swap", 0, 0, value, expected=old, result=won)

    @staticmethod
    def _unanswered(kind: str, start: float, value: str | None, known: tuple[int, str] | None) -> Operation:
        if kind == "delete":
            kind = "write"
        elif kind == "swap" and known is None:
            kind = "create"
        return Operation(kind, start, NEVER, value, expected=known[1] if known else None)

    def check(self) -> None:
        for name, history in self.histories.items():
            assert linearizable(history), f"{name}: {sorted(history, key=lambda o: o.start)}"


@pytest.fixture(params=["sqlite-disk", "sqlite-memory", pytest.param("two-on-etcd", marks=needs_etcd)])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Store]]:
    made: list[Store]
    if request.param == "two-on-etcd":
        url = request.getfixturevalue("etcd_url")
        made = [await EtcdStore.open(url), await EtcdStore.open(url)]
    else:
        made = [SqliteStore(tmp_path / "s.db" if request.param == "sqlite-disk" else None)]
    yield made
    for store in made:
        await store.close()


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_clients(stores: list[Store], seed: int) -> None:
    recorder = Recorder(seed)
    await asyncio.gather(*[recorder.client(store) for store, _ in zip(itertools.cycle(stores), range(CLIENTS))])
    recorder.check()
    assert all(len(history) > 20 for history in recorder.histories.values())


@needs_etcd
async def test_concurrent_clients_while_etcd_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "etcd") as etcd:
        stores = [await EtcdStore.open(etcd.url), await EtcdStore.open(etcd.url)]
        recorder = Recorder(7)

        async def kill() -> None:
            for _ in range(3):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(restart, etcd)

        clients = [recorder.client(store) for store in stores for _ in range(CLIENTS // 2)]
        await asyncio.gather(kill(), *clients)
        recorder.check()
        for store in stores:
            await store.close()


def restart(etcd: Etcd) -> None:
    etcd.stop()
    etcd.start()
