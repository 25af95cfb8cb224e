"""An etcd that was written by a Sampan of before 0.2 is brought to the keys of today (``layout.py``), when a store is opened.

Most resources were where Kubernetes has them already; a few, which the older one did not know to be built in, had their
group in the key. Each object is moved by one transaction that compares what it moves: a server that is killed in the middle
goes on at its next start, and of several that start together each object is moved by one. When nothing is left to move, and
no other server lives, a key below the root says which layout this is, and no start looks again. While an older server lives
on the same etcd nothing is moved: it would not find its objects.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import orjson

from sampan.store import etcd_pb2 as pb
from sampan.store.encryption import SEALED, Encryption
from sampan.store.etcd_address import EtcdAddress
from sampan.store.etcd_client import EtcdClient
from sampan.store.history import prefix_end
from sampan.store.layout import BUILT_IN, LAYOUT, MASTER_LEASES, custom_prefix, moved, prefix_of
from sampan.store.protocol import StoreError

logger = logging.getLogger("sampan.store")

OWN = "~sampan/"
"""Below the root, outside every resource: keys of the store itself."""
KEY = f"{OWN}layout"
AT_ONCE = 500
LIVES_SECONDS = 15.0
"""For so long a server that was killed is still among the living."""
PAUSE_SECONDS = 0.5

MOVED = {
    f"{plural}.{group}": custom_prefix(group, plural)
    for group, plurals in BUILT_IN.items()
    if group
    for plural in plurals
}
"""Resource → where layout 1 may have it."""


class Move:
    """One start's part in it."""

    def __init__(self, client: EtcdClient, address: EtcdAddress, encryption: Encryption) -> None:
        self._client, self._address, self._encryption = client, address, encryption
        self._key = f"{address.root}{KEY}".encode()

    async def run(self) -> None:
        """Return when every key is where it belongs. Raises ``StoreError``."""
        layout = await self._layout()
        if layout is not None:
            if layout > LAYOUT:
                told = f"etcd has layout {layout} under {self._address.root}, this version of sampan knows {LAYOUT}"
                raise StoreError(f"{told}: a later version wrote it")
            return
        while prefixes := await self._old():
            await self._alone(prefixes)
            count = 0
            for prefix in prefixes:
                count += await self._move(prefix)
            logger.info("etcd: %d objects are now where Kubernetes keeps them", count)
        if not await self._living():
            await self._done()

    async def _layout(self) -> int | None:
        """Return the layout that is written down; None: nobody has written one."""
        found = await self._client.range(pb.RangeRequest(key=self._key, limit=1))
        return int(orjson.loads(found.kvs[0].value)["layout"]) if found.kvs else None

    async def _old(self) -> list[str]:
        """Return the prefixes of layout 1 under which there is something that no definition has put there."""
        request = pb.TxnRequest()
        for prefix in MOVED.values():
            first = self._address.key_of(prefix)
            request.success.add(
                request_range=pb.RangeRequest(key=first, range_end=range_end(first), limit=1, keys_only=True)
            )
        answers = (await self._client.txn(request)).responses
        found = [name for name, answer in zip(MOVED, answers, strict=True) if answer.response_range.kvs]
        return [MOVED[name] for name in found if not await self._there(prefix_of("customresourcedefinitions") + name)]

    async def _there(self, key: str) -> bool:
        return bool((await self._client.range(pb.RangeRequest(key=self._address.key_of(key), keys_only=True))).kvs)

    async def _alone(self, prefixes: Sequence[str]) -> None:
        """Return when no server lives on this etcd: whoever does has not moved the keys, and looks for them where they were.
        Raises ``StoreError`` where one stays alive."""
        until = time.monotonic() + LIVES_SECONDS + PAUSE_SECONDS
        while living := await self._living():
            if await self._layout() is not None:
                return  # another one of today has moved them meanwhile, and lives
            if time.monotonic() > until:
                raise StoreError(
                    f"etcd has keys of a version before 0.2 ({', '.join(prefixes)}), and servers that may be of that version "
                    f"are running ({', '.join(living)}): stop them before the first start of this one"
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _living(self) -> list[str]:
        """Return the addresses of the servers on this etcd."""
        first = self._address.key_of(MASTER_LEASES)
        found = await self._client.range(pb.RangeRequest(key=first, range_end=range_end(first), keys_only=True))
        return [kv.key.decode()[len(first) :] for kv in found.kvs]

    async def _move(self, prefix: str) -> int:
        """Move what is under a prefix; return how many objects."""
        first, count = self._address.key_of(prefix), 0
        stop = range_end(first)
        while True:
            found = await self._client.range(pb.RangeRequest(key=first, range_end=stop, limit=AT_ONCE))
            for kv in found.kvs:
                count += await self._move_one(kv)
            if not found.more:
                return count
            first = found.kvs[-1].key + b"\0"

    async def _move_one(self, kv: pb.KeyValue) -> bool:
        old = self._address.store_key(kv.key)
        new = moved(old)
        key, value = self._address.key_of(new), kv.value
        if value.startswith(SEALED):  # its key may be bound into it
            value = self._encryption.seal(new, self._encryption.open(old, value, kv.key), key)
        request = pb.TxnRequest()
        request.compare.add(key=kv.key, target=pb.Compare.MOD, mod_revision=kv.mod_revision)
        request.compare.add(key=key, target=pb.Compare.MOD, mod_revision=0)
        request.success.add(request_put=pb.PutRequest(key=key, value=value))
        request.success.add(request_delete_range=pb.DeleteRangeRequest(key=kv.key))
        request.failure.add(request_range=pb.RangeRequest(key=kv.key, keys_only=True))
        request.failure.add(request_range=pb.RangeRequest(key=key, keys_only=True))
        answer = await self._client.txn(request)
        if answer.succeeded:
            return True
        here, there = (bool(response.response_range.kvs) for response in answer.responses)
        if here and there:
            told = f"etcd has one object twice, as {kv.key.decode()} and as {key.decode()}"
            raise StoreError(f"{told}: delete the one that is not wanted with etcdctl")
        return False  # another server has moved it

    async def _done(self) -> None:
        request = pb.TxnRequest()
        request.compare.add(key=self._key, target=pb.Compare.MOD, mod_revision=0)
        request.success.add(request_put=pb.PutRequest(key=self._key, value=b'{"layout":%d}' % LAYOUT))
        await self._client.txn(request)


def range_end(prefix: bytes) -> bytes:
    """Return etcd's ``range_end`` for all keys with a prefix, which ends with ``/``."""
    return prefix_end(prefix.decode()).encode()
