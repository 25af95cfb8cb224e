"""The API that files are loaded into: in this process's memory, without a socket, without controllers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.local import LocalClient
from sampan.api.server import ApiConfig, open_api
from sampan.client.resources import ENDPOINT_SLICES
from sampan.gateway.copies import pack
from sampan.schema.causes import Cause
from sampan.schema.objects import Object
from sampan.store.protocol import Record
from sampan.store.retention import Limits
from sampan.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from sampan.api.app import Api

LITTLE_HISTORY = Limits(keep_seconds=1, keep_at_least=1_000, keep_at_most=2_000, keep_at_most_bytes=2 << 20)
"""Who watches is in this process and never far behind; what the files said before nobody asks."""
REMEMBERED_BYTES = 64 << 10
"""What is read of the API is kept by who reads it."""


class MemoryClient(LocalClient):
    """A client of that API. What it lists and watches is kept by who reads it as the very bytes that the API has."""

    def read(self, record: Record) -> Object:
        return pack(self.api.parsed(record), record.value)


async def api_in_memory(folder: Path) -> Api:
    """Return an API with the built-in resources; ``folder`` is where keys would be."""
    api = await open_api(ApiConfig(folder), SqliteStore(None, limits=LITTLE_HISTORY))
    api.tracks_fields = False
    api.remember(REMEMBERED_BYTES)
    allow_loopback(api)
    return api


def allow_loopback(api: Api) -> None:
    """Let endpoints be on the host itself: a cluster refuses them as every node would mean itself, here there is one host."""
    served = api.catalog.get(ENDPOINT_SLICES.group, ENDPOINT_SLICES.version, ENDPOINT_SLICES.plural)
    assert served is not None
    judge = served.resource.validate
    assert judge is not None

    def validate(new: Object, old: Object | None) -> list[Cause]:
        return [cause for cause in judge(new, old) if "may not be in the loopback range" not in cause.message]

    api.catalog.add(dataclasses.replace(served.resource, validate=validate))
