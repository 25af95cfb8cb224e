"""Audit Events sent to a server, many at a time (``--audit-webhook-*``).

A batch goes when it is full or its first Event has waited long enough; one that cannot be sent is tried again with a growing
pause. What does not fit into the buffer is dropped, and told in the log once a batch: auditing never holds up requests, nor
takes more memory than so much: an Event may hold two objects of megabytes.
Source: k8s.io/apiserver plugin/pkg/audit/buffered and webhook.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

import orjson

from sampan.api.remote import Remote, RemoteError
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.api")


BUFFER_BYTES = 64 << 20
BATCH_BYTES = 10 << 20
"""``--audit-webhook-truncate-max-batch-size`` of kube-apiserver."""
HEAD, TAIL = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[', b"]}"


@dataclass(frozen=True)
class Batching:
    buffer: int = 10_000
    batch: int = 400
    wait_seconds: float = 30.0
    first_backoff_seconds: float = 10.0
    attempts: int = 5
    send_seconds: float = 30.0


class WebhookBackend:
    def __init__(self, remote: Remote, batching: Batching) -> None:
        self._remote, self._batching = remote, batching
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._full = asyncio.Event()
        self._some = asyncio.Event()
        self._closing = False
        self.dropped = 0

    def write(self, event: Object) -> None:
        data = orjson.dumps(event)
        if len(self._events) >= self._batching.buffer or self._bytes + len(data) > BUFFER_BYTES:
            self.dropped += 1
            return
        self._events.append(data)
        self._bytes += len(data)
        self._some.set()
        if self._is_full():
            self._full.set()

    def _is_full(self) -> bool:
        return len(self._events) >= self._batching.batch or self._bytes >= BATCH_BYTES

    async def run(self) -> None:
        """Send until cancelled."""
        told = 0
        while True:
            await self._some.wait()
            try:
                async with asyncio.timeout(self._batching.wait_seconds):
                    await self._full.wait()
            except TimeoutError:
                pass
            await self._send_batch()
            if self.dropped > told:
                logger.error("audit webhook: %d events were dropped, the buffer is full", self.dropped - told)
                told = self.dropped

    async def _send_batch(self) -> None:
        batch: list[bytes] = []
        size = 0
        while self._events and len(batch) < self._batching.batch and (not batch or size < BATCH_BYTES):
            batch.append(self._events.popleft())
            size += len(batch[-1])
        self._bytes -= size
        if not self._is_full():
            self._full.clear()
        if not self._events:
            self._some.clear()
        if batch:
            await self._send(batch)

    async def _send(self, batch: list[bytes]) -> None:
        body = b"".join([HEAD, b",".join(batch), TAIL])
        pause = self._batching.first_backoff_seconds
        for attempt in range(self._batching.attempts):
            try:
                await self._remote.post(body, self._batching.send_seconds)
                return
            except RemoteError as error:
                last = attempt + 1 == self._batching.attempts or self._closing
                logger.error("audit webhook: %d events: %s%s", len(batch), error, "; they are lost" if last else "")
                if last:
                    return
                await asyncio.sleep(pause)
                pause *= 1.5

    async def close(self) -> None:
        """Send what is left, once."""
        self._closing = True
        while self._events:
            await self._send_batch()
        await self._remote.close()
