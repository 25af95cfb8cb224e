"""A server that takes batches as JSON lines: ``POST``, gzip, and a number that stays the same when a batch is sent again.

2xx acknowledges; 408, 429 and 5xx are tried again (``Retry-After`` is kept to); 413 is sent in halves; another 4xx refuses.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib

import aiohttp

from sampan.logs.outputs.output import Batch, Refused, Undelivered, json_line

AGAIN = frozenset({408, 425, 429})
TIMEOUT = aiohttp.ClientTimeout(total=60)


class Http:
    content_type = "application/x-ndjson"

    def __init__(self, url: str) -> None:
        self.name, self.url = url, url
        self._session: aiohttp.ClientSession | None = None

    async def open(self, mark: int | None) -> int:
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        return 0

    def body(self, batch: Batch) -> bytes:
        return b"".join(map(json_line, batch))

    async def deliver(self, batch: Batch) -> int:
        body = self.body(batch)
        status, answer, retry_after = await self._post(body)
        if status == 413 and len(batch) > 1:
            half = len(batch) // 2
            refused = 0
            for part in (batch[:half], batch[half:]):
                try:
                    await self.deliver(part)
                except Refused as error:
                    refused += error.count
            if refused:
                raise Refused(f"{self.url}: too large", refused)
        elif status in AGAIN or status >= 500:
            raise Undelivered(f"{self.url}: {status} {answer.decode('utf-8', 'replace')}", retry_after)
        elif status >= 300:
            raise Refused(f"{self.url}: {status} {answer.decode('utf-8', 'replace')}", len(batch))
        else:
            self.judge(answer)
        return 0

    def judge(self, answer: bytes) -> None:
        """Look into the answer of a server that has taken a batch. Raises ``Undelivered``, ``Refused``."""

    async def _post(self, body: bytes) -> tuple[int, bytes, float | None]:
        assert self._session is not None
        headers = {
            "Content-Type": self.content_type,
            "Content-Encoding": "gzip",
            "Idempotency-Key": hashlib.sha256(body).hexdigest()[:32],
        }
        data = await asyncio.to_thread(gzip.compress, body, 3)
        try:
            async with self._session.post(self.url, data=data, headers=headers) as response:
                answer = await response.read()
                wait = response.headers.get("Retry-After", "")
                return response.status, answer[:4096], float(wait) if wait.isdigit() else None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Undelivered(f"{self.url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
