"""OTLP over HTTP: protobuf, gzip. What answers mean is the specification's: 429, 502, 503 and 504 are asked again.

Two things are ours. What tells of us and not of the records (401, 403, 404 …) waits until it is mended. Of a request that is
refused the records that cannot be taken are looked for, in halves.
"""

from __future__ import annotations

import logging

from sampan.logs.log_record import Batch
from sampan.logs.outputs.http_client import HttpClient
from sampan.logs.outputs.otlp.message import partial_success, request_of, status_of
from sampan.logs.outputs.output import Undelivered
from sampan.logs.outputs.sending import Halve, Sender, Verdict

logger = logging.getLogger("sampan.logs")

CONTENT_TYPE = "application/x-protobuf"
AGAIN = frozenset({401, 403, 404, 405, 407, 408, 429, 502, 503, 504})


class OtlpHttp(Sender):
    def __init__(self, name: str, client: HttpClient, batch_bytes: int, again: frozenset[int] = AGAIN) -> None:
        self.name, self._client, self._batch_bytes, self._again = name, client, batch_bytes, again

    async def _send(self, part: Batch) -> Verdict:
        answer = await self._client.post(request_of(part), {"Content-Type": CONTENT_TYPE}, holds=frozenset())
        if answer.status < 300:
            return verdict(self.name, answer.body)
        said, delay = status_of(answer.body) if answer.content_type == CONTENT_TYPE else ("", None)
        message = f"{self._client.url}: {answer.status} {said}" if said else f"{self._client.url}: {answer.said}"
        if answer.status in self._again:
            self._client.next()
            raise Undelivered(message, delay if answer.retry_after is None else answer.retry_after)
        raise Halve(message, too_large=answer.status == 413)

    async def close(self) -> None:
        await self._client.close()


def verdict(name: str, answer: bytes) -> Verdict:
    """Return what an ExportLogsServiceResponse says: rejected records must not be sent again."""
    rejected, message = partial_success(answer)
    if message and not rejected:
        logger.warning("%s takes the records, and warns: %s", name, message)
    return Verdict(refused=rejected, message=message)
