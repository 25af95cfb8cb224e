"""Whose turn it is to compact etcd: of all servers that share it, kube-apiservers included, one does it at a time.

A key counts the turns. Whoever finds it as it last knew it moves it on and compacts; who finds it moved has learned that
another server has just done so. Source: apiserver storage/etcd3/compact.go.
"""

from __future__ import annotations

import logging

from sampan.store import etcd_pb2 as pb
from sampan.store.etcd_client import EtcdClient, Refused
from sampan.store.protocol import StoreError

logger = logging.getLogger("sampan.store")

COMPACT_REVISION_KEY = b"compact_rev_key"
"""Kubernetes' own."""


class Compaction:
    """One server's part in it."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self.turn = 0
        """The version of the key when this server last looked."""

    async def at(self, revision: int) -> None:
        """Compact; that it has been done already is no failure. Raises ``StoreError``."""
        try:
            await self._client.compact(revision)
        except Refused as error:
            if not error.compacted:
                raise

    async def in_turn(self, revision: int, newest: int) -> None:
        """Compact, if no other server has done so since this one last looked."""
        request = pb.TxnRequest()
        request.compare.add(key=COMPACT_REVISION_KEY, target=pb.Compare.VERSION, version=self.turn)
        request.success.add(request_put=pb.PutRequest(key=COMPACT_REVISION_KEY, value=str(newest).encode()))
        request.failure.add(request_range=pb.RangeRequest(key=COMPACT_REVISION_KEY))
        try:
            answer = await self._client.txn(request)
            if answer.succeeded:
                self.turn += 1
                await self.at(revision)
            elif kvs := answer.responses[0].response_range.kvs:
                self.turn = int(kvs[0].version)
        except StoreError as error:
            logger.warning("etcd: compaction: %s", error)
