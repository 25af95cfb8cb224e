"""TLS and who is at the other end: client certificates, handed to the app in the ASGI scope.

uvicorn's protocols with one addition: ``scope["sampan.peer_certificate"]`` is the DER of the client certificate that the
cluster's CA has signed, and ``scope["sampan.front_proxy_certificate"]`` of one that the request-header CA has (None
without). They are read once a connection. The time of certificates is not looked at here: authentication does, with each
request. Files that were replaced are read with the next connection, so that a renewed certificate is served at once.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from sampan.api.der import certificates_of

logger = logging.getLogger("sampan.api")

PEER_CERTIFICATE, FRONT_PROXY_CERTIFICATE = "sampan.peer_certificate", "sampan.front_proxy_certificate"
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
    """uvicorn's HTTP/1.1 protocol that knows its peer."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._peer_certificate, self._front_proxy = peer_certificates(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PEER_CERTIFICATE] = self._peer_certificate  # type: ignore[literal-required]
        self.scope[FRONT_PROXY_CERTIFICATE] = self._front_proxy  # type: ignore[literal-required]


class WebSocketProtocol(WSProtocol):
    """uvicorn's WebSocket protocol that knows its peer.

    The one on wsproto: the other refuses kubectl's sub-protocol for port-forward, which has a slash in its name."""

    async def run_asgi(self) -> None:
        certificate, front_proxy = peer_certificates(self.transport)
        self.scope[PEER_CERTIFICATE] = certificate  # type: ignore[literal-required]
        self.scope[FRONT_PROXY_CERTIFICATE] = front_proxy  # type: ignore[literal-required]
        await super().run_asgi()
