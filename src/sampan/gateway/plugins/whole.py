"""Bodies as a whole, where a processor's own process is asked: with FULL_DUPLEX_STREAMED a body comes while its headers are
not answered yet, so both are held back until all of it is there and the plugin has made something of it.

What is held back is kept as it came: where the plugin fails, or a body is longer than it takes, it can go on as if nothing
had been. Source: Envoy's external processing API v3 (``processing_mode.proto``: a server may hold back headers and body, and
answers in their order).
"""

from __future__ import annotations

from sampan.gateway.plugins.contents import Contents
from sampan.gateway.plugins.conversation import Conversation, Pairs, Part, Side
from sampan.gateway.plugins.request import Headers

PIECE_BYTES = 64 << 10
"""Envoy's documentation advises against larger ones."""
LENGTHS = frozenset({"content-length", "transfer-encoding"})


class Whole:
    """One body that is held back. ``made`` is what the plugin made of it, None where it stays as it came; ``end``
    is what ended it, None where that has not come."""

    def __init__(self, side: Side, contents: Contents, headers: Headers, status: int = 0) -> None:
        """``headers`` are those that it came with, ``status`` that of an answer."""
        self._side, self._contents, self._status = side, contents, status
        self._encoding, self._length = headers.get("content-encoding"), headers.get("content-length")
        self._pieces: list[bytes] = []
        self.end: Part | None = None
        self.made: bytes | None = None

    async def gathered(self) -> bytes:
        """Return the body when all of it has come. Raises ``ValueError`` for one that the plugin does not take."""
        self._contents.check(self._encoding, self._length, self._status)
        size = 0
        while self.end is None:
            size += len((await self._next()).data)
            self._contents.check_size(size)
        return b"".join(self._pieces)

    async def _next(self) -> Part:
        part = await self._side.get()
        if part.is_last:
            self.end = part
        if part.data:
            self._pieces.append(part.data)
        return part

    def lengthened(self, pairs: Pairs) -> Pairs:
        """Return headers that say how long the body is which goes with them; before trailers HTTP/1.1 has no length."""
        if self.made is None or self.end is None:
            return pairs
        others = [pair for pair in pairs if pair[0] not in LENGTHS]
        return [*others, ("content-length", str(len(self.made)))] if self.end.name == "body" else others

    async def pass_on(self, talk: Conversation) -> Part:
        """Give out what the plugin made of it, or it as it came and what is yet to come of it; return what ended it."""
        if self.made is not None:
            made = memoryview(self.made)
            self._pieces = [bytes(made[start : start + PIECE_BYTES]) for start in range(0, len(made), PIECE_BYTES)]
        while True:
            pieces, self._pieces = self._pieces or [b""], []
            for number, data in enumerate(pieces, 1):
                is_last = number == len(pieces) and self.end is not None and self.end.name == "body"
                if data or is_last:
                    await talk.body(self._side.name, data, is_last=is_last)
            if self.end is not None:
                return self.end
            await self._next()
