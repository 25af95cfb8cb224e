"""Every kind of store, opened for a test. etcd is a real one, where it is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.store import Store
from sampan.store.etcd import EtcdStore
from sampan.store.sqlite import SqliteStore
from tests.etcd_server import installed

KINDS = (
    "sqlite-memory",
    "sqlite-disk",
    pytest.param("etcd", marks=pytest.mark.skipif(not installed(), reason="no etcd")),
)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "etcd":
        made = await EtcdStore.open(request.getfixturevalue("etcd_url"))
    else:
        made = SqliteStore(None if request.param == "sqlite-memory" else tmp_path / "store.db")
    yield made
    await made.close()
