"""DNS over TCP: questions one after the other on a connection, answered as they become known, each side bounded.

A connection that says nothing for ten seconds, or does not take its answers, is closed; so are those beyond what one
client or all may have. Source: RFC 7766 (sections 6.2.1.1 and 7 for answers in another order).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from sampan.dns.asking import Pending
from sampan.dns.entries import Ip
from sampan.dns.pending import Waiting
from sampan.dns.responder import Responder

IDLE_SECONDS = 10.0
CONNECTIONS_AT_MOST = 1000
CONNECTIONS_OF_ONE = 100
PENDING_AT_MOST = 64
"""How many questions of one connection may wait for others."""
UNSENT_BYTES = 256 << 10
"""How much a client may leave unread before it is waited for."""


class Streams:
    def __init__(self, responder: Callable[[], Responder], waiting: Waiting) -> None:
        self._responder = responder
        self._waiting = waiting
        self._open: Counter[Ip] = Counter()
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's questions until it ends."""
        peer = writer.get_extra_info("peername")
        source = ip_address(peer[0].partition("%")[0]) if peer else IPv6Address(0)
        source = getattr(source, "ipv4_mapped", None) or source
        if self._open.total() >= CONNECTIONS_AT_MOST or self._open[source] >= CONNECTIONS_OF_ONE:
            self.refused += 1
            writer.transport.abort()
            return
        self._open[source] += 1
        writer.transport.set_write_buffer_limits(UNSENT_BYTES)
        try:
            await self._questions(reader, writer, source)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]
            # what was not taken is not waited for
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: Ip) -> None:
        room = asyncio.Semaphore(PENDING_AT_MOST)

        def answered(made: bytes) -> None:
            room.release()
            with contextlib.suppress(OSError):
                send(writer, made)

        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(size)
                await room.acquire()
            answer = self._responder().answer(data, source, udp=False)
            if isinstance(answer, Pending):
                self._waiting.take(answer, answered)
                continue
            room.release()
            if answer is None:
                return
            send(writer, answer)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()


def send(writer: asyncio.StreamWriter, answer: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(struct.pack("!H", len(answer)) + answer)
