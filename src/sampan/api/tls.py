"""TLS and who is at the other end: client certificates, handed to the app in the ASGI scope.

uvicorn's protocols with one addition: ``scope["sampan.peer_certificate"]`` is the DER of the verified client
certificate (None without one). It is read once a connection.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

PEER_CERTIFICATE = "sampan.peer_certificate"


def server_context(pki_dir: Path) -> ssl.SSLContext:
    """Return the TLS of the API. Client certificates of ``ca.crt`` are asked for, not required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki_dir / "apiserver.crt", pki_dir / "apiserver.key")
    context.load_verify_locations(pki_dir / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def peer_certificate(transport: Any) -> bytes | None:
    """Return the DER of the client certificate of a connection."""
    connection = transport.get_extra_info("ssl_object")
    certificate: bytes | None = connection.getpeercert(binary_form=True) if connection is not None else None
    return certificate


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol that knows its peer."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._peer_certificate = peer_certificate(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PEER_CERTIFICATE] = self._peer_certificate  # type: ignore[literal-required]


class WebSocketProtocol(WSProtocol):
    """uvicorn's WebSocket protocol that knows its peer.

    The one on wsproto: the other refuses kubectl's sub-protocol for port-forward, which has a slash in its name."""

    async def run_asgi(self) -> None:
        self.scope[PEER_CERTIFICATE] = peer_certificate(self.transport)  # type: ignore[literal-required]
        await super().run_asgi()
