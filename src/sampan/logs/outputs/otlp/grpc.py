"""OTLP over gRPC. Which codes are asked again is the specification's; RESOURCE_EXHAUSTED is, if a RetryInfo says when.

As over HTTP, what tells of us (UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, NOT_FOUND) waits until it is mended, and
what is refused is looked for in halves; a message that is too large is RESOURCE_EXHAUSTED without a RetryInfo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from sampan.logs.log_record import Batch
from sampan.logs.outputs import tls
from sampan.logs.outputs.otlp.http import verdict
from sampan.logs.outputs.otlp.message import request_of, status_of
from sampan.logs.outputs.output import Undelivered
from sampan.logs.outputs.sending import Halve, Sender, Verdict

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
AGAIN = frozenset(
    {
        Status.CANCELLED,
        Status.DEADLINE_EXCEEDED,
        Status.ABORTED,
        Status.OUT_OF_RANGE,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    }
)
HOLDS = frozenset({Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.UNIMPLEMENTED, Status.NOT_FOUND})
BROKEN = (OSError, StreamTerminatedError, ProtocolError, TimeoutError, asyncio.TimeoutError)


class Bytes(CodecBase):  # type: ignore[misc]
    """Messages are bytes here: ``message.py`` makes and reads them."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: type[bytes]) -> bytes:
        return message

    def decode(self, data: bytes, message_type: type[bytes]) -> bytes:
        return data


class Details(StatusDetailsCodecBase):  # type: ignore[misc]
    """Of a status' details: after how many seconds RetryInfo wants to be asked again."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        raise NotImplementedError

    def decode(self, status: Status, message: str | None, data: bytes) -> float | None:
        return status_of(data)[1]


class OtlpGrpc(Sender):
    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        contexts: tls.Contexts | None,
        headers: Mapping[str, str],
        authorization: Callable[[], str],
        timeout_seconds: float,
        batch_bytes: int,
    ) -> None:
        self.name, self._batch_bytes, self._timeout = name, batch_bytes, timeout_seconds
        self._address, self._contexts = (host, port), contexts
        self._headers, self._authorization = {name.lower(): value for name, value in headers.items()}, authorization
        self._channel: Channel | None = None

    async def _send(self, part: Batch) -> Verdict:
        try:
            answer = await self._call(request_of(part))
        except GRPCError as error:
            raise self._meaning(error) from error
        except BROKEN as error:
            await self.close()
            raise Undelivered(f"{self.name}: {error or type(error).__name__}") from error
        return verdict(self.name, answer or b"")

    async def _call(self, request: bytes) -> bytes | None:
        if self._channel is None:
            host, port = self._address
            context = self._contexts() if self._contexts is not None else None
            if context is not None:
                context.set_alpn_protocols(["h2"])
            self._channel = Channel(host, port, ssl=context, codec=Bytes(), status_details_codec=Details())
        metadata = dict(self._headers)
        if who := self._authorization():
            metadata["authorization"] = who
        async with self._channel.request(
            METHOD, Cardinality.UNARY_UNARY, bytes, bytes, timeout=self._timeout, metadata=metadata
        ) as stream:
            await stream.send_message(request, end=True)
            answer: bytes | None = await stream.recv_message()
            return answer

    def _meaning(self, error: GRPCError) -> Exception:
        """Return what a status means for the part that was sent."""
        message = f"{self.name}: {error.status.name} {error.message or ''}".rstrip()
        delay = error.details if isinstance(error.details, float) else None
        exhausted = error.status is Status.RESOURCE_EXHAUSTED
        if error.status in AGAIN or error.status in HOLDS or (exhausted and delay is not None):
            return Undelivered(message, delay)
        return Halve(message, too_large=exhausted)

    async def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
