"""TLS and who is at the other end: client certificates, handed to the app in the ASGI scope.

uvicorn's protocols with one addition: ``scope["sampan.peer_certificate"]`` is the DER of the client certificate that the
cluster's CA has signed, and ``scope["sampan.front_proxy_certificate"]`` of one that the request-header CA has (None
without). They are read once a connection. The time of certificates is not looked at here: authentication does, with each
request. Files that were replaced are read with the next connection, so that a renewed certificate is served at once.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools

from sampan.api.der import certificates_of
from sampan.api.tunnel import UPGRADE, Tunnel
from sampan.api.uvicorn_protocols import alone
from sampan.api.whole import JOINED_BYTES, WHOLE, Outbox, Whole

with alone():
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger("sampan.api")

PEER_CERTIFICATE, FRONT_PROXY_CERTIFICATE = "sampan.peer_certificate", "sampan.front_proxy_certificate"
TUNNEL = "sampan.tunnel"
HEADER_SECONDS = 32.0
"""How long the headers of a request may take (kube-apiserver's ReadHeaderTimeout)."""
LINGER_SECONDS = 0.5
MAX_HEAD_BYTES = 1 << 20
"""The largest head of a request (Go's DefaultMaxHeaderBytes)."""
TOO_LARGE_HEAD = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: 35\r\n\r\n"
    b"431 Request Header Fields Too Large"
)
NO_CHECK_TIME = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME`` of OpenSSL, which ``ssl`` has no name for."""


@dataclass(frozen=True)
class TlsFiles:
    """Where the keys of an API server are."""

    certificate: Path
    key: Path
    clients: Path
    """Who signs users."""
    front_proxies: Path | None = None
    """Who signs front proxies."""

    def state(self) -> tuple[tuple[int, int], ...]:
        """Return what changes when one of the files is replaced."""
        found = []
        for path in (self.certificate, self.key, self.clients, self.front_proxies):
            if path is not None:
                status = path.stat()
                found.append((status.st_ino, status.st_mtime_ns))
        return tuple(found)


class ServingContext(ssl.SSLContext):
    """The TLS of the API at one moment, with the authorities it trusts by what they are trusted for."""

    clients: frozenset[bytes] = frozenset()
    front_proxies: frozenset[bytes] = frozenset()


def read_context(files: TlsFiles) -> ServingContext:
    """Return the TLS of the files as they are now. Client certificates are asked for, not required."""
    context = ServingContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.clients)
    if files.front_proxies is not None:
        context.load_verify_locations(files.front_proxies)
        context.clients = frozenset(certificates_of(files.clients.read_bytes()))
        context.front_proxies = frozenset(certificates_of(files.front_proxies.read_bytes()))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    # of the good ciphers the client's favourite: AES with 128 bits where it is Go, as between Go and kube-apiserver
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def server_context(files: TlsFiles) -> ServingContext:
    """Return the TLS of the API, which follows its files: each handshake looks whether they were replaced."""
    first = read_context(files)
    current, state = first, files.state()

    def newest(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        nonlocal current, state
        try:
            now = files.state()
            if now != state:
                current, state = read_context(files), now
        except (OSError, ValueError) as error:  # half of the files is there: the next handshake looks again
            logger.warning("the API's certificates cannot be read: %s", error)
        if current is not first:
            connection.context = current

    first.sni_callback = newest
    return first


def peer_certificates(transport: Any) -> tuple[bytes | None, bytes | None]:
    """Return the DER of the client certificate of a connection: as a user's, and as a front proxy's."""
    connection = transport.get_extra_info("ssl_object")
    certificate: bytes | None = connection.getpeercert(binary_form=True) if connection is not None else None
    if certificate is None or not connection.context.front_proxies:
        return certificate, None
    root, context = anchor(connection), connection.context
    user = certificate if root in context.clients else None
    return user, certificate if root in context.front_proxies else None


def anchor(connection: Any) -> bytes:
    """Return the DER of the authority that a verified chain ends at."""
    if hasattr(connection, "get_verified_chain"):  # Python 3.13
        return bytes(connection.get_verified_chain()[-1])
    return bytes(ssl.PEM_cert_to_DER_cert(connection._sslobj.get_verified_chain()[-1].public_bytes()))


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol that knows its peer, gives up on headers that do not end, and lets go of connections
    that become SPDY."""

    outbox: Outbox
    """The server's: set before the first connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._peer_certificate, self._front_proxy = peer_certificates(transport)
        self._tunnel: Tunnel | None = None
        self._head_bytes = 0
        self._in_head, self._refused = True, False
        self._slow: asyncio.TimerHandle | None = self.loop.call_later(HEADER_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._not_slow()
        if self._tunnel is not None:
            self._tunnel.feed(b"")
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # which knows us: a circle with all that TLS keeps
        self.server_state.ended()  # type: ignore[attr-defined]

    def eof_received(self) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(b"")

    def data_received(self, data: bytes) -> None:
        if self.outbox.waiting:  # whatever this becomes is not to overtake an answer
            self.outbox.flush()
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._refused:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :] if upgrade.args else b"")
            return
        except httptools.HttpParserError:
            self.send_400_response("400 Bad Request")
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            elif self._slow is None:
                self._slow = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        self.outbox.flush()
        super().shutdown()

    def _refuse_head(self) -> None:
        """Answer 431, and close when the client has had time to read it: data that nobody reads would reset it away."""
        self._not_slow()
        self._refused = True
        self.transport.write(TOO_LARGE_HEAD)
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _upgraded(self, rest: bytes) -> None:
        if self._tunnel is not None:
            if rest:
                self._tunnel.feed(rest)
        elif self._should_upgrade():
            self._not_slow()
            self.handle_websocket_upgrade()

    def _not_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self.scope[PEER_CERTIFICATE] = self._peer_certificate  # type: ignore[literal-required]
        self.scope[FRONT_PROXY_CERTIFICATE] = self._front_proxy  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._slow is not None:
            self._not_slow()
        if self.parser.should_upgrade() and self._get_upgrade() == UPGRADE:
            self._tunnel = self.scope[TUNNEL] = Tunnel(self.transport, self.flow)  # type: ignore[literal-required]
        before = self.cycle
        super().on_headers_complete()
        if self._tunnel is not None:
            self._tunnel.cycle = self.cycle
        elif self.cycle is not None and self.cycle is not before:
            self.cycle.transport = OneWrite(self.transport)  # type: ignore[assignment]
            self.scope[WHOLE] = Whole(self.cycle, self.transport, self.outbox)  # type: ignore[literal-required]


class OneWrite:
    """The transport of one answer, which sends the head with a body that comes in the same turn of the loop: one TLS record
    instead of two. A head whose body takes its time goes alone."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head: bytes | None = None
        """None before the head, empty once it is sent."""

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            if len(data) < JOINED_BYTES:
                data = head + data
            else:
                self._transport.write(head)
        elif self._head is None and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self.flush)
            return
        self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


def websocket(**arguments: Any) -> asyncio.Protocol:
    """Return the protocol that a connection goes on with as a WebSocket. It is imported with the first."""
    from sampan.api.websockets import WebSocketProtocol

    return WebSocketProtocol(**arguments)
