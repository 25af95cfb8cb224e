"""The API servers of one store, and where they are reached: the endpoints of default/kubernetes.

Every server keeps a key with a short time to live, ``/registry/masterleases/ADDRESS:PORT``, and follows those of all.
Whoever sees a change writes the addresses of the living into Endpoints and EndpointSlice. As with kube-apiserver all
servers listen on one port. Source: kubernetes pkg/controlplane/reconcilers/lease.go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Event, Put, StoreError
from sampan.store.layout import MASTER_LEASES, prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")

PREFIX = MASTER_LEASES
KEYS = "sampan.io/keys"
LIVES_SECONDS = 15
"""kube-apiserver's DefaultEndpointReconcilerTTL."""
RENEW_SECONDS = 10.0
ENDPOINTS = prefix_of("endpoints") + "default/kubernetes"
SLICE = prefix_of("endpointslices.discovery.k8s.io") + "default/kubernetes"


class Masters:
    """One server among those of its store."""

    def __init__(self, api: Api, advertise: tuple[str, int], keys: str = "") -> None:
        self.api = api
        self.host, self.port = advertise
        self._keys = keys
        """What tells this server's keys from others: servers of one store must have the same."""
        self._renewing = False

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.host}:{self.port}"

    async def load(self) -> None:
        """Be there, and put the endpoints right. Raises ``StoreError`` where a living server has other keys."""
        await self._compare_keys()
        await self._renew()
        if not self._renewing:
            self._renewing = True
            self.api.spawn("masters", self._keep())
            self.api.closing.insert(0, self._leave)
        await self.reconcile()

    async def follow(self, events: Sequence[Event]) -> None:
        if any(event.deleted or event.previous is None for event in events):
            await self.reconcile()

    async def _compare_keys(self) -> None:
        for record in (await self.api.store.page(PREFIX)).records:
            annotations = (orjson.loads(record.value).get("metadata") or {}).get("annotations") or {}
            theirs = annotations.get(KEYS)
            if record.key != self.key and theirs and self._keys and theirs != self._keys:
                other = record.key[len(PREFIX) :]
                why = "what one signs the other would refuse; copy its folder pki/ here first"
                raise StoreError(f"another API server on this store, {other}, has other keys: {why}")

    async def _renew(self) -> None:
        metadata = {"name": self.host, "annotations": {KEYS: self._keys}}
        value = {"metadata": metadata, "subsets": subsets([(self.host, self.port)])}
        await self.api.store.commit([Put(self.key, orjson.dumps(value), ttl_seconds=LIVES_SECONDS)])

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except StoreError as error:
                logger.warning("this server's place among the endpoints of the API is not renewed: %s", error)

    async def _leave(self) -> None:
        try:
            await self.api.store.commit([Put(self.key, None)])
        except StoreError as error:
            logger.warning("this server stays among the endpoints of the API for %d s: %s", LIVES_SECONDS, error)

    async def reconcile(self) -> None:
        """Write the addresses of all living servers, where they are not written yet."""
        found: list[tuple[str, int]] = []
        for record in (await self.api.store.page(PREFIX)).records:
            host, _, number = record.key[len(PREFIX) :].rpartition(":")
            found.append((host, int(number)))
        if not found:
            return
        port = min(found)[1]
        addresses = [host for host, at in sorted(found) if at == port]
        wanted: dict[str, dict[str, Any]] = {
            ENDPOINTS: {"subsets": subsets(found)},
            SLICE: {
                "endpoints": [{"addresses": [host], "conditions": {"ready": True}} for host in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            },
        }
        for key, fields in wanted.items():
            await self._write(key, fields)

    async def _write(self, key: str, fields: Object) -> None:
        record = self.api.store.get(key)
        if record is None:
            return
        stored = self.api.whole(record)
        if all(stored.get(field) == value for field, value in fields.items()):
            return
        try:
            await self.api.store.commit([Put(key, dumps({**stored, **fields}), expected=record.revision)])
        except Conflict:
            pass  # another server saw the same change
        except StoreError as error:
            logger.warning("endpoints of the API: %s", error)


def fingerprint(pki_dir: Path) -> str:
    """Return what tells the public keys of a server from those of another."""
    found = [pki_dir / name for name in ("ca.crt", "sa.pub")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in found if path.exists())).hexdigest()[:16]


def subsets(servers: list[tuple[str, int]]) -> list[Object]:
    """Return the subsets of Endpoints: the addresses of each port."""
    ports = sorted({port for _, port in servers})
    return [
        {
            "addresses": [{"ip": host} for host, at in sorted(servers) if at == port],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port in ports
    ]
