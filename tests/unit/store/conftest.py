"""Every kind of store, opened for a test. etcd is a real one, where it is installed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sampan.store import Store
from sampan.store.etcd import EtcdStore
from sampan.store.sqlite import SqliteStore
from tests.etcd_server import Etcd, installed, running

KINDS = (
    "sqlite-memory",
    "sqlite-disk",
    pytest.param("etcd", marks=pytest.mark.skipif(not installed(), reason="no etcd")),
)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    if not installed():
        pytest.skip("etcd is not installed (apt-get install etcd-server)")
    with running(tmp_path_factory.mktemp("etcd") / "data") as started:
        yield started


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "etcd":
        made = await EtcdStore.open(f"{request.getfixturevalue('etcd').url}/{uuid.uuid4()}")
    else:
        made = SqliteStore(None if request.param == "sqlite-memory" else tmp_path / "store.db")
    yield made
    await made.close()
