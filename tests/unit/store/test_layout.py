"""A store of before 0.2, which has groups in the keys of built-in resources, becomes one with Kubernetes' own keys."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sampan.store import Put, StoreError, etcd_layout, layout, snapshot
from sampan.store import etcd_pb2 as pb
from sampan.store.encryption import Encryption, parse
from sampan.store.etcd import EtcdStore
from sampan.store.etcd_address import parse as parse_url
from sampan.store.etcd_client import EtcdClient
from sampan.store.etcd_layout import Move
from sampan.store.layout import keys_of, moved, prefix_of, resource_of
from sampan.store.sqlite import SqliteStore
from tests.etcd_server import installed

needs_etcd = pytest.mark.skipif(not installed(), reason="etcd is not installed (apt-get install etcd-server)")
VALUE = b'{"apiVersion":"v1","kind":"Some","metadata":{"name":"x"},"data":"%b"}'
DEFINITIONS = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
NOW = {
    "/registry/apps/deployments/default/web": "/registry/deployments/default/web",
    "/registry/networking.k8s.io/ingresses/default/web": "/registry/ingress/default/web",
    "/registry/rbac.authorization.k8s.io/clusterroles/system:node": "/registry/clusterroles/system:node",
    "/registry/scheduling.k8s.io/workloads/default/w": "/registry/workloads/default/w",
    "/registry/services/specs/default/web": "/registry/services/specs/default/web",
    "/registry/events/default/e": "/registry/events/default/e",
    "/registry/stable.example.com/crontabs/default/c": "/registry/stable.example.com/crontabs/default/c",
    f"{DEFINITIONS}crontabs.stable.example.com": f"{DEFINITIONS}crontabs.stable.example.com",
}
"""Keys of layout 1 → where they are now."""


def configuration(resource: str) -> Encryption:
    key = {"name": "key1", "secret": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}
    rule = {"resources": [resource], "providers": [{"aesgcm": {"keys": [key]}}, {"identity": {}}]}
    return parse({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": [rule]})


@pytest.mark.parametrize(("old", "new"), NOW.items())
def test_keys_are_moved(old: str, new: str) -> None:
    assert moved(old) == new and moved(new) == new
    assert resource_of(old) == resource_of(new)


def test_what_a_definition_defines_stays() -> None:
    key = "/registry/scheduling.k8s.io/workloads/default/w"
    assert moved(key, {"workloads.scheduling.k8s.io"}) == key
    assert moved("/registry/apps/", ()) == "/registry/apps/"


def test_nobody_else_writes_a_prefix_down() -> None:
    """A literal is a place where the next kind of Kubernetes is forgotten."""
    literal = re.compile(r"[\"']/registry/[a-z{]")
    source = Path(layout.__file__).parents[1]
    found = {str(file.relative_to(source)) for file in source.rglob("*.py") if literal.search(file.read_text())}
    assert found <= {"api/health.py"}  # a key that is nowhere


# SQLite


def on_disk(path: Path) -> bytes:
    return path.read_bytes()


async def old_file(path: Path, encryption: Encryption | None = None) -> None:
    """A file of format 2: that of today, but for its keys and its number."""
    sealing = encryption or Encryption()
    store = SqliteStore(path, encryption=encryption)
    for old in NOW:
        await store.commit([Put(old, VALUE % old.encode(), 0)])
    await store.commit([Put(next(iter(NOW)), VALUE % b"again")])
    await store.close()
    assert not sealing or b"again" not in on_disk(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=2")


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_file_is_brought_to_the_layout_of_today(tmp_path: Path, sealed: bool) -> None:
    path, encryption = tmp_path / "s.db", configuration("deployments.apps") if sealed else None
    await old_file(path, encryption)
    for _ in range(2):
        store = SqliteStore(path, encryption=encryption)
        assert sorted(store.image().keys) == sorted(NOW.values())
        record = store.get("/registry/deployments/default/web")
        assert record is not None and b"again" in record.value
        assert (record.create_revision, record.revision) == (2, len(NOW) + 2)  # no client has to begin anew
        (event,) = await anext(store.watch("/registry/deployments/", since=len(NOW) + 1))
        assert event.previous is not None
        await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)


async def test_custom_resources_of_the_name_of_a_later_kind_stay(tmp_path: Path) -> None:
    path, key = tmp_path / "s.db", "/registry/scheduling.k8s.io/workloads/default/w"
    store = SqliteStore(path)
    await store.commit([Put(key, VALUE % b"", 0), Put(f"{DEFINITIONS}workloads.scheduling.k8s.io", VALUE % b"", 0)])
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=2")
    store = SqliteStore(path)
    assert store.get(key) is not None
    await store.close()


KILLED = """
import os, pathlib, signal, sys
from sampan.store import database
from sampan.store.sqlite import SqliteStore
moved, left = database.moved, 3
def dying(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return moved(*arguments)
database.moved = dying
SqliteStore(pathlib.Path(sys.argv[1]))
"""


async def test_a_server_that_is_killed_while_it_moves_keys_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await old_file(path)
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path))
    assert await run.wait() == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        assert {key for (key,) in connection.execute("SELECT key FROM log")} == set(NOW)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    store = SqliteStore(path)
    assert sorted(store.image().keys) == sorted(NOW.values())
    await store.close()


async def test_keys_that_cannot_be_opened_leave_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await old_file(path, configuration("deployments.apps"))
    with pytest.raises(StoreError, match="is encrypted"):
        SqliteStore(path)
    store = SqliteStore(path, encryption=configuration("deployments.apps"))
    assert store.get("/registry/deployments/default/web") is not None
    await store.close()


async def test_a_snapshot_of_before_is_restored(tmp_path: Path) -> None:
    encryption = configuration("deployments.apps")
    old = SqliteStore()
    await old.commit([Put(key, VALUE % key.encode(), 0) for key in NOW])
    snapshot.write(tmp_path / "s.snapshot", old.image(), {}, encryption)
    with closing(sqlite3.connect(tmp_path / "s.snapshot")) as connection:
        connection.execute("PRAGMA user_version=1001")
    found = snapshot.read(tmp_path / "s.snapshot", encryption)
    assert list(found.image.keys) == sorted(NOW.values())
    store = SqliteStore()
    assert await snapshot.restore(store, found) == len(NOW)
    assert await snapshot.restore(store, found) == 0


# etcd


class Raw:
    """etcd itself, below a root."""

    def __init__(self, url: str) -> None:
        self.address = parse_url(url)
        self.client = EtcdClient(self.address)

    async def put(self, key: str, value: bytes = VALUE % b"") -> None:
        await self.client.put(pb.PutRequest(key=self.address.key_of(key), value=value))

    async def keys(self) -> list[str]:
        root = self.address.key_of("/registry/")
        found = await self.client.range(pb.RangeRequest(key=root, range_end=etcd_layout.range_end(root)))
        return [key for kv in found.kvs if "~" not in (key := self.address.store_key(kv.key))]

    async def delete(self, key: str) -> None:
        request = pb.TxnRequest()
        request.success.add(request_delete_range=pb.DeleteRangeRequest(key=self.address.key_of(key)))
        await self.client.txn(request)


@pytest.fixture
async def raw(etcd_url: str) -> Any:
    found = Raw(etcd_url)
    yield found
    found.client.close()


@needs_etcd
async def test_servers_that_start_together_move_each_key_once(raw: Raw, etcd_url: str) -> None:
    for old in NOW:
        await raw.put(old, VALUE % old.encode())
    for number in range(40):
        await raw.put(f"/registry/scheduling.k8s.io/podgroups/default/g{number}")
    stores = await asyncio.gather(*(EtcdStore.open(etcd_url) for _ in range(4)))
    for store in stores:
        await store.fresh()
        assert set(NOW.values()) <= set(store.image().keys)
        assert len((await store.page("/registry/podgroups/")).records) == 40
        record = store.get("/registry/deployments/default/web")
        assert record is not None and b"/registry/apps/deployments" in record.value
    assert await raw.keys() == sorted(stores[0].image().keys)
    for store in stores:
        await store.close()


@needs_etcd
async def test_a_start_that_was_cut_off_is_gone_on_with(
    raw: Raw, etcd_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for old in NOW:
        await raw.put(old)
    move, left = Move._move_one, 2

    async def dying(self: Move, kv: pb.KeyValue) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreError("killed")
        return await move(self, kv)

    monkeypatch.setattr(Move, "_move_one", dying)
    with pytest.raises(StoreError, match="killed"):
        await EtcdStore.open(etcd_url)
    keys = set(await raw.keys())
    assert len(keys & set(NOW)) < len(NOW) and not keys >= set(NOW.values())
    monkeypatch.setattr(Move, "_move_one", move)
    store = await EtcdStore.open(etcd_url)
    assert await raw.keys() == sorted(NOW.values())
    await store.close()


@needs_etcd
async def test_nothing_is_moved_below_an_older_server(raw: Raw, etcd_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, master = "/registry/scheduling.k8s.io/podgroups/default/g", "/registry/masterleases/10.0.0.1:6443"
    await raw.put(master)
    store = await EtcdStore.open(etcd_url)  # nothing is to be moved: it is left in peace
    await store.close()
    await raw.put(key)
    monkeypatch.setattr(etcd_layout, "LIVES_SECONDS", 0.0)
    monkeypatch.setattr(etcd_layout, "PAUSE_SECONDS", 0.01)
    with pytest.raises(StoreError, match=r"podgroups/\).*10\.0\.0\.1:6443\): stop them"):
        await EtcdStore.open(etcd_url)
    assert key in await raw.keys()
    await raw.delete(master)
    store = await EtcdStore.open(etcd_url)
    assert await raw.keys() == ["/registry/podgroups/default/g"]
    await store.close()


@needs_etcd
async def test_an_object_that_is_there_twice_is_told(raw: Raw, etcd_url: str) -> None:
    await raw.put("/registry/scheduling.k8s.io/podgroups/default/g")
    await raw.put("/registry/podgroups/default/g")
    with pytest.raises(StoreError, match=r"one object twice.*podgroups/default/g and as .*delete the one"):
        await EtcdStore.open(etcd_url)


@needs_etcd
async def test_custom_resources_stay_and_later_layouts_are_refused(raw: Raw, etcd_url: str) -> None:
    key = "/registry/scheduling.k8s.io/workloads/default/w"
    await raw.put(key)
    await raw.put(f"{DEFINITIONS}workloads.scheduling.k8s.io")
    store = await EtcdStore.open(etcd_url)
    assert store.get(key) is not None
    await store.close()
    await raw.put("/registry/~sampan/layout", b'{"layout":3}')
    with pytest.raises(StoreError, match="etcd has layout 3 under /"):
        await EtcdStore.open(etcd_url)


@needs_etcd
async def test_sealed_values_are_sealed_for_their_new_key(raw: Raw, etcd_url: str) -> None:
    encryption = configuration("podgroups.scheduling.k8s.io")
    old = "/registry/scheduling.k8s.io/podgroups/default/g"
    await raw.put(old, encryption.seal(old, VALUE % b"secret", raw.address.key_of(old)))
    store = await EtcdStore.open(etcd_url, encryption=encryption)
    record = store.get("/registry/podgroups/default/g")
    assert record is not None and b"secret" in record.value
    await store.close()


# keys as people write them


@pytest.mark.parametrize(
    ("resource", "prefix"),
    [
        ("pods", "/registry/pods/"),
        ("deployments", "/registry/deployments/"),
        ("deployments.apps", "/registry/deployments/"),
        ("events.events.k8s.io", "/registry/events/"),
        ("ingresses", "/registry/ingress/"),
        ("nodes", "/registry/minions/"),
        ("services", "/registry/services/specs/"),
        ("endpoints", "/registry/services/endpoints/"),
        ("widgets.example.com", "/registry/example.com/widgets/"),
        ("deployments.example.com", "/registry/example.com/deployments/"),
        ("customresourcedefinitions", DEFINITIONS),
        ("/registry/pods/default", "/registry/pods/default/"),
    ],
)
def test_resources_as_people_name_them(resource: str, prefix: str) -> None:
    assert prefix_of(resource) == prefix


def test_objects_as_people_name_them() -> None:
    assert keys_of("nodes/n", "default") == ["/registry/minions/default/n", "/registry/minions/n"]
    assert keys_of("/registry/pods/a/b", "x") == ["/registry/pods/a/b"]
