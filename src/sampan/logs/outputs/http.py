"""A server that takes records as JSON over HTTP: lines (``ndjson``), an array (``json``), or their texts (``text``).

An ``Idempotency-Key`` stays the same when a request is sent again unchanged. What answers mean: ``http_client.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sampan.logs.log_record import Batch
from sampan.logs.outputs import http_client
from sampan.logs.outputs.http_client import HttpClient
from sampan.logs.outputs.options import Options
from sampan.logs.outputs.output import Output, json_line, text_line
from sampan.logs.outputs.sending import TAKEN, Sender, Verdict

BATCH_BYTES = 4 << 20
Encode = Callable[[Batch], bytes]


def as_lines(batch: Batch) -> bytes:
    return b"".join(map(json_line, batch))


def as_array(batch: Batch) -> bytes:
    return b"[" + b",".join(json_line(delivery)[:-1] for delivery in batch) + b"]"


def as_texts(batch: Batch) -> bytes:
    return b"".join(map(text_line, batch))


FORMATS: dict[str, tuple[str, Encode]] = {
    "ndjson": ("application/x-ndjson", as_lines),
    "json": ("application/json", as_array),
    "text": ("text/plain; charset=utf-8", as_texts),
}


class Http(Sender):
    def __init__(
        self,
        name: str,
        client: HttpClient,
        format: str = "ndjson",
        method: str = "POST",
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self.name, self._client, self._method, self._batch_bytes = name, client, method, batch_bytes
        self._content_type, self._encode = FORMATS[format]

    async def _send(self, part: Batch) -> Verdict:
        body = self._encode(part)
        headers = {"Content-Type": self._content_type, "Idempotency-Key": hashlib.sha256(body).hexdigest()[:32]}
        answer = await self._client.post(body, headers, method=self._method)
        self._client.judge(answer)
        return TAKEN

    async def close(self) -> None:
        await self._client.close()


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    return Http(
        name,
        http_client.client_of(options),
        options.one_of("format", FORMATS, "ndjson"),
        options.one_of("method", ("POST", "PUT"), "POST"),
        options.size("batch_bytes", BATCH_BYTES),
    )
