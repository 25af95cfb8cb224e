"""Claims on addresses and ports between the API servers of one store.

Each server knows what the Services have and gives out what is free. Two of them could give out the same at the same
moment: so on a shared store who chooses one writes a key for it first, which only one can. The key is needed until every
server has seen the Service, and goes by itself a minute later. On a store of its own a server needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import orjson

from sampan.store import Conflict, Put, Store
from sampan.store.layout import CLAIMS

PREFIX = CLAIMS
CLAIM_SECONDS = 60


class Claims:
    def __init__(self, store: Store) -> None:
        self.store = store

    async def claim(self, what: str, owner: str, dry_run: bool) -> bool:
        """Return whether ``what`` (an address, a port) is the owner's."""
        if not self.store.shared or dry_run:
            return True
        value = orjson.dumps({"metadata": {"name": what}, "owner": owner})
        try:
            await self.store.commit([Put(PREFIX + what, value, expected=0, ttl_seconds=CLAIM_SECONDS)])
        except Conflict as conflict:
            return conflict.current is not None and orjson.loads(conflict.current.value)["owner"] == owner
        return True

    async def release(self, given_up: Iterable[str], owner: str) -> None:
        """Let others have at once what its owner does not need any more."""
        for what in given_up:
            record = self.store.get(PREFIX + what)
            if record is not None and orjson.loads(record.value)["owner"] == owner:
                with suppress(Conflict):
                    await self.store.commit([Put(record.key, None, expected=record.revision)])
