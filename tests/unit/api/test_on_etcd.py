"""The API's own tests of verbs, lists and watches once more, on etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sampan.api.app import Api
from sampan.store.etcd import EtcdStore
from tests.unit.api.conftest import make_api
from tests.unit.api.test_lists_and_watches import *  # noqa: F403
from tests.unit.api.test_verbs import *  # noqa: F403


@pytest.fixture
async def api(etcd_url: str) -> AsyncIterator[Api]:
    made = make_api(store=await EtcdStore.open(etcd_url))
    yield made
    await made.close()
