"""A client of HTTP/3: requests on one connection that stays. By aioquic, which is none of Envoy's code."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from cryptography import x509


@dataclass
class Answer3:
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.headers[":status"])


class Http3(QuicConnectionProtocol):
    """Requests on one connection, several at a time where one likes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._http = H3Connection(self._quic)
        self._answers: dict[int, tuple[Answer3, Any]] = {}
        self.ended: ConnectionTerminated | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.ended = event
            for _, waiter in self._answers.values():
                if not waiter.done():
                    waiter.set_exception(ConnectionError(event.reason_phrase or hex(event.error_code)))
                    waiter.exception()  # who asked may have gone
        for found in self._http.handle_event(event):
            if not isinstance(found, (HeadersReceived, DataReceived)) or found.stream_id not in self._answers:
                continue
            answer, waiter = self._answers[found.stream_id]
            if isinstance(found, HeadersReceived):
                answer.headers |= {name.decode(): value.decode() for name, value in found.headers}
            else:
                answer.body += found.data
            if found.stream_ended and not waiter.done():
                waiter.set_result(answer)

    async def ask(self, host: str, path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> Answer3:
        stream = self._quic.get_next_available_stream_id()
        self._answers[stream] = Answer3(), self._loop.create_future()
        length = {"content-length": str(len(body))} if body else {}
        pairs = {":method": method, ":scheme": "https", ":authority": host, ":path": path, **length, **headers}
        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()]
        self._http.send_headers(stream, encoded, end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        self.transmit()
        answer: Answer3 = await self._answers[stream][1]
        return answer

    @property
    def certificate(self) -> x509.Certificate:
        """Return the certificate that the server has shown."""
        shown: x509.Certificate = self._quic.tls._peer_certificate
        return shown


@asynccontextmanager
async def http3(address: str, port: int, host: str) -> AsyncIterator[Http3]:
    """Give a connection, whatever certificate is shown."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name=host)
    configuration.verify_mode = ssl.CERT_NONE
    async with connect(address, port, configuration=configuration, create_protocol=Http3) as client:
        assert isinstance(client, Http3)
        yield client
