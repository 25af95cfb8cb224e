"""A connection that left HTTP: SPDY/3.1 of clients that do not speak WebSocket (exec, attach, port-forward).

The HTTP protocol hands over what follows the request; ``accept`` answers 101, and bytes go both ways as they are.
``messages`` makes it look like a WebSocket with binary messages, which is how the kubelet is asked. Source: RFC 9110
section 7.8; Kubernetes' remotecommand over SPDY.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from sampan.api.request import Receive, Send

BUFFERED_BYTES = 1 << 20
UPGRADE = b"spdy/3.1"


class Tunnel:
    """One end of a connection; ``flow`` and ``cycle`` are uvicorn's of the request that asked for it."""

    def __init__(self, transport: asyncio.Transport, flow: Any) -> None:
        self._transport, self._flow = transport, flow
        self.cycle: Any = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._some = asyncio.Event()
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take over what was received; ``b""`` is the end."""
        if not data:
            self._ended = True
        else:
            self._pieces.append(data)
            self._size += len(data)
            if self._size > BUFFERED_BYTES:
                self._flow.pause_reading()
        self._some.set()

    async def read(self) -> bytes:
        """Return what came; ``b""`` at the end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._some.clear()
            await self._some.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._flow.resume_reading()
        return data

    def accept(self, protocol: str) -> None:
        """Leave HTTP: from here on the bytes are the other protocol's."""
        self.cycle.response_started = self.cycle.response_complete = True
        head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        self._transport.write(f"{head}X-Stream-Protocol-Version: {protocol}\r\n\r\n".encode())

    async def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
            await self._flow.drain()

    def close(self) -> None:
        self._transport.close()


def messages(tunnel: Tunnel, protocol: str) -> tuple[Receive, Send]:
    """Return a tunnel as the two sides of an ASGI WebSocket; accepting it answers with ``protocol``."""
    connected = False

    async def receive() -> dict[str, Any]:
        nonlocal connected
        if not connected:
            connected = True
            return {"type": "websocket.connect"}
        data = await tunnel.read()
        return {"type": "websocket.receive", "bytes": data} if data else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.accept":
            tunnel.accept(protocol)
        elif message["type"] == "websocket.send":
            await tunnel.write(message.get("bytes") or b"")
        elif message["type"] == "websocket.close":
            tunnel.close()

    return receive, send
