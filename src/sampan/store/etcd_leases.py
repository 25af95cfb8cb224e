"""Leases of etcd: how a key with a time to live goes by itself.

A lease of its own for every Event would be thousands; keys with the same time to live that are written within a minute
share one, at most a thousand of them, and live up to that minute longer. Source: apiserver storage/etcd3/lease_manager.go.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from sampan.store.etcd_client import EtcdClient

REUSE_SECONDS = 60
REUSE_PERCENT = 5
KEYS_AT_MOST = 1_000


@dataclass(slots=True)
class Lease:
    id: int
    until: float
    """When it is no longer given to new keys."""
    keys: int = 0


class Leases:
    """The leases that one server hands out, by time to live."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._leases: dict[int, Lease] = {}
        self._lock = asyncio.Lock()

    async def of(self, ttl_seconds: int) -> int:
        """Return a lease that lives at least ``ttl_seconds``. Raises ``StoreError``."""
        async with self._lock:
            lease = self._leases.get(ttl_seconds)
            if lease is None or time.monotonic() > lease.until or lease.keys >= KEYS_AT_MOST:
                reuse = max(1, min(REUSE_SECONDS, ttl_seconds * REUSE_PERCENT // 100))
                granted = await self._client.grant_lease(ttl_seconds + reuse)
                lease = self._leases[ttl_seconds] = Lease(granted, time.monotonic() + reuse)
            lease.keys += 1
            return lease.id

    def forget(self) -> None:
        """Give none of them out any more: etcd does not know one (it was revoked, or ended while this machine slept)."""
        self._leases.clear()
