"""Whether a gateway is alive and ready, for the kubelet's probes: ``/livez`` and ``/readyz``.

``/livez`` answers for as long as the loop turns. ``/readyz`` is 200 when the world is known and, where there is a Gateway,
an Envoy is connected that has taken all that it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


async def serve_health(address: str, port: int, is_ready: Callable[[], bool]) -> None:
    """Serve until cancelled. Raises ``OSError`` where the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].partition(b"?")[0] if head.count(b" ") >= 2 else b""
                good = path == b"/livez" or (path == b"/readyz" and is_ready())
                status = "200 OK" if good else "503 Service Unavailable" if path == b"/readyz" else "404 Not Found"
                body = b"ok\n" if good else b"not ready\n" if path == b"/readyz" else b"/livez, /readyz\n"
                lines = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n"
                writer.write(lines.encode() + b"connection: close\r\n\r\n" + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, address, port)
    async with server:
        await server.serve_forever()
