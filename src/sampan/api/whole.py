"""Whole bodies and whole answers without ASGI's messages: what nearly every request is.

Our HTTP protocol puts a ``Whole`` into the scope. Where it is there, a body that has come already is taken as it lies, and an
answer whose length is known goes out as one head and its body. Everything else (streams, other servers, tests) takes ASGI's
own way, and sees the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from sampan.api.request import Response

logger = logging.getLogger("sampan.api")

WHOLE = "sampan.whole"
JOINED_BYTES = 64 * 1024
"""Larger bodies are not copied behind their head."""
REMEMBERED = 256

_heads: dict[tuple[int, str, bool], bytes] = {}


def head_of(status: int, content_type: str, cached: bool) -> bytes:
    """Return the first lines of an answer. ``cached``: it does not say that it must not be kept."""
    key = (status, content_type, cached)
    head = _heads.get(key)
    if head is None:
        head = f"HTTP/1.1 {status} {phrase_of(status)}\r\ncontent-type: {content_type}\r\n".encode("latin-1")
        if not cached:
            head += b"cache-control: no-cache, private\r\n"
        if len(_heads) < REMEMBERED:
            _heads[key] = head
    return head


def phrase_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class Outbox:
    """Writes the answers of one turn of the loop one after the other. A client that sleeps is woken up by the first; a write
    between every two requests would wake it up for each, which costs the server more than the write."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.waiting: list[tuple[Any, bytes]] = []

    def write(self, transport: Any, data: bytes) -> None:
        if not self.waiting:
            self._loop.call_soon(self.flush)
        self.waiting.append((transport, data))

    def flush(self) -> None:
        """Write what waits. To be called before anything else is written to one of the connections."""
        waiting, self.waiting = self.waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                try:
                    transport.write(data)
                except Exception:  # one connection that broke keeps no answer from the others
                    logger.exception("an answer was not written")
                    transport.abort()


class Whole:
    """One request and its answer, on a connection of ours."""

    __slots__ = ("_cycle", "_outbox", "_transport")

    def __init__(self, cycle: Any, transport: Any, outbox: Outbox) -> None:
        self._cycle, self._transport, self._outbox = cycle, transport, outbox

    def body(self) -> bytes | None:
        """Return the whole body of the request, None where it has not come yet or is waited for."""
        cycle = self._cycle
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.message_event.clear()
        return body

    async def answer(
        self, head: bytes, headers: Iterable[tuple[bytes, bytes]], response: Response, sends_body: bool
    ) -> None:
        """Send an answer: the first lines, more headers, and the body (of a HEAD only its length)."""
        cycle, transport = self._cycle, self._transport
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("an answer has been sent already")
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        lines = head.count(b"\n")
        for name, value in headers:
            head += name + b": " + value + b"\r\n"
            lines += 1
        if head.count(b"\n") != lines or head.count(b"\r") != lines:
            raise RuntimeError("a header of the answer has more than one line")
        if not cycle.keep_alive:
            head += b"connection: close\r\n"
        length = response.length
        head += b"content-length: %d\r\n\r\n" % length
        if not sends_body:
            self._outbox.write(transport, head)
        elif length < JOINED_BYTES:
            self._outbox.write(transport, head + response.body)
        else:
            self._outbox.flush()
            if not await self._send(head, response.parts()):
                return
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._outbox.flush()
            transport.close()
        cycle.on_response()

    async def _send(self, head: bytes, parts: Iterable[bytes]) -> bool:
        """Send a long answer as fast as the client reads; return whether it is still there."""
        cycle, write = self._cycle, self._transport.write
        for part in parts:
            if cycle.flow.write_paused and not cycle.disconnected:
                await cycle.flow.drain()
            if cycle.disconnected:
                return False
            write(head + part if head else part)
            head = b""
        return True
