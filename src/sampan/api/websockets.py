"""uvicorn's WebSocket protocol that knows its peer.

The one on wsproto: the other refuses kubectl's sub-protocol for port-forward, which has a slash in its name.
"""

from __future__ import annotations

from sampan.api.tls import FRONT_PROXY_CERTIFICATE, PEER_CERTIFICATE, peer_certificates
from sampan.api.uvicorn_protocols import alone

with alone():
    from uvicorn.protocols.websockets.wsproto_impl import WSProtocol


class WebSocketProtocol(WSProtocol):
    async def run_asgi(self) -> None:
        certificate, front_proxy = peer_certificates(self.transport)
        self.scope[PEER_CERTIFICATE] = certificate  # type: ignore[literal-required]
        self.scope[FRONT_PROXY_CERTIFICATE] = front_proxy  # type: ignore[literal-required]
        await super().run_asgi()
