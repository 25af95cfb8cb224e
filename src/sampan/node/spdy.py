"""SPDY/3.1, as much of it as Kubernetes speaks: streams over one connection, each with headers.

containerd's streaming server wants it for exec, attach and port-forward; kubectl tunnels it through a WebSocket to forward
ports. ``Session`` is one side of a connection: bytes that arrive are fed in, frames go out by a callback. Source: the
SPDY protocol draft 3.1 (frame formats, the zlib dictionary of header blocks).
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
INITIAL_WINDOW = 65536
OUR_WINDOW = 1 << 30
DATA_AT_MOST = 16384


WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
allow authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status
"""


def _dictionary() -> bytes:
    """Return the draft's zlib dictionary: length-prefixed header words, then free text."""
    words = WORDS.split()
    blob = b"".join(struct.pack(">I", len(word)) + word.encode() for word in words)
    blob += struct.pack(">I", 6) + b"200 OK" + struct.pack(">I", 7) + b"version" + struct.pack(">I", 8) + b"HTTP/1.1"
    for word in ("url", "public", "set-cookie", "keep-alive", "origin"):
        blob += struct.pack(">I", len(word)) + word.encode()
    blob += (
        b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        b"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        b"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        b"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        b"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return blob


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """The peer sent what is no SPDY, or refused."""


class Stream:
    """One stream: what was received (an end of it is ``b""``), and ways to send."""

    def __init__(self, session: Session, stream_id: int, headers: Mapping[str, str]) -> None:
        self.id = stream_id
        self.headers = headers
        self.window = INITIAL_WINDOW
        self.taken = 0
        """Bytes that were received and not yet given back to the peer's window."""
        self._session = session
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = asyncio.Event()
        self.replied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reset = False
        self.ended: set[str] = set()
        """Which sides have said their last: ``ours``, ``theirs``."""

    async def receive(self) -> bytes:
        """Return the next piece; ``b""`` at the end, and ever after."""
        piece = await self._received.get()
        if not piece:
            self._received.put_nowait(b"")
        return piece

    async def send(self, data: bytes) -> None:
        """Send data, waiting while the peer's window is full, where the peer keeps one."""
        while data and not self.reset:
            while self.window <= 0 and self._session.windowed and not self.reset:
                self._room.clear()
                await self._room.wait()
            piece = data[: min(self.window, DATA_AT_MOST) if self._session.windowed else DATA_AT_MOST]
            data = data[len(piece) :]
            self.window -= len(piece)
            self._session.write_data(self.id, piece, fin=False)
            await self._session.drain()

    def close(self) -> None:
        """Send the end of our side."""
        if not self.reset:
            self._session.write_data(self.id, b"", fin=True)
            self._session.end_of(self, "ours")

    def feed(self, data: bytes, *, fin: bool) -> None:
        if data:
            self._received.put_nowait(data)
        if fin:
            self._received.put_nowait(b"")
            self._session.end_of(self, "theirs")

    def enlarge(self, delta: int) -> None:
        self.window += delta
        self._room.set()

    def abort(self) -> None:
        self.reset = True
        self._room.set()
        self._received.put_nowait(b"")
        if not self.replied.done():
            self.replied.set_exception(SpdyError(f"stream {self.id} was refused"))
            self.replied.exception()  # a caller that does not wait for it must not be warned of it


class Session:
    """One side of a SPDY connection. ``client`` sides open streams with odd numbers."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        client: bool,
        on_stream: Callable[[Stream], None] | None = None,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._write = write
        self._drain = drain
        self.windowed = False
        """Whether the peer has ever enlarged a window. moby/spdystream, which containerd and kubectl use, never does and
        takes what comes: then only the connection itself says when to wait."""
        self._on_stream = on_stream
        self._next_id = 1 if client else 2
        self._buffer = b""
        self._streams: dict[int, Stream] = {}
        self._pack = zlib.compressobj(zdict=DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._peer_window = INITIAL_WINDOW

    def open(self, headers: Mapping[str, str]) -> Stream:
        """Open a stream; await ``stream.replied`` to know that the peer took it."""
        stream = Stream(self, self._next_id, dict(headers))
        stream.window = self._peer_window
        self._next_id += 2
        self._streams[stream.id] = stream
        self._control(SYN_STREAM, 0, struct.pack(">IIH", stream.id, 0, 0) + self._packed(headers))
        self._grow(stream.id)
        return stream

    async def drain(self) -> None:
        """Wait until the connection takes more."""
        if self._drain is not None:
            await self._drain()

    def _grow(self, stream_id: int) -> None:
        """Let the peer send without waiting for us: what bounds it is the sockets on both sides."""
        self._control(WINDOW_UPDATE, 0, struct.pack(">II", stream_id, OUR_WINDOW))

    def _packed(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            key, text = name.lower().encode(), value.encode()
            block += struct.pack(">I", len(key)) + key + struct.pack(">I", len(text)) + text
        return self._pack.compress(block) + self._pack.flush(zlib.Z_SYNC_FLUSH)

    def _unpacked(self, block: bytes) -> dict[str, str]:
        try:
            data = self._unpack.decompress(block)
            (count,) = struct.unpack_from(">I", data)
            offset, headers = 4, {}
            for _ in range(count):
                words = []
                for _ in range(2):
                    (length,) = struct.unpack_from(">I", data, offset)
                    words.append(data[offset + 4 : offset + 4 + length].decode())
                    offset += 4 + length
                headers[words[0]] = words[1]
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"bad header block: {error}") from error
        return headers

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        self._write(struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload)

    def write_data(self, stream_id: int, data: bytes, *, fin: bool) -> None:
        flags = FIN if fin else 0
        self._write(struct.pack(">II", stream_id, flags << 24 | len(data)) + data)

    def end_of(self, stream: Stream, side: str) -> None:
        """Forget a stream that both sides have ended."""
        stream.ended.add(side)
        if len(stream.ended) == 2:
            self._streams.pop(stream.id, None)

    def feed(self, data: bytes) -> None:
        """Take over bytes of the connection. Raises ``SpdyError``."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            length = second & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            payload, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            flags = second >> 24
            if first & 0x80000000:
                self._on_control(first & 0xFFFF, flags, payload)
            else:
                self._on_data(first, flags, payload)

    def _on_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.feed(payload, fin=bool(flags & FIN))
        stream.taken += len(payload)
        if stream.taken > OUR_WINDOW // 2:
            # seldom: a peer that has closed answers whatever is written with a reset, and what it sent last is lost
            self._control(WINDOW_UPDATE, 0, struct.pack(">II", stream_id, stream.taken))
            stream.taken = 0

    def _on_control(self, kind: int, flags: int, payload: bytes) -> None:
        try:
            if kind == SYN_STREAM:
                self._on_syn(flags, payload)
            elif kind == SYN_REPLY:
                (stream_id,) = struct.unpack_from(">I", payload)
                self._unpacked(payload[4:])
                stream = self._streams.get(stream_id)
                if stream is not None and not stream.replied.done():
                    stream.replied.set_result(None)
                if stream is not None and flags & FIN:
                    stream.feed(b"", fin=True)
            elif kind == RST_STREAM:
                (stream_id,) = struct.unpack_from(">I", payload)
                stream = self._streams.pop(stream_id, None)
                if stream is not None:
                    stream.abort()
            elif kind == SETTINGS:
                self._on_settings(payload)
            elif kind == PING:
                self._control(PING, 0, payload)
            elif kind == WINDOW_UPDATE:
                self.windowed = True
                stream_id, delta = struct.unpack_from(">II", payload)
                if stream_id in self._streams:
                    self._streams[stream_id].enlarge(delta & 0x7FFFFFFF)
            elif kind == HEADERS:
                self._unpacked(payload[4:])
        except struct.error as error:
            raise SpdyError(f"bad frame of type {kind}: {error}") from error

    def _on_syn(self, flags: int, payload: bytes) -> None:
        (stream_id,) = struct.unpack_from(">I", payload)
        stream = Stream(self, stream_id & 0x7FFFFFFF, self._unpacked(payload[10:]))
        stream.window = self._peer_window
        self._streams[stream.id] = stream
        self._control(SYN_REPLY, 0, struct.pack(">I", stream.id) + self._packed({}))
        self._grow(stream.id)
        if flags & FIN:
            stream.feed(b"", fin=True)
        if self._on_stream is not None:
            self._on_stream(stream)

    def _on_settings(self, payload: bytes) -> None:
        (count,) = struct.unpack_from(">I", payload)
        for index in range(count):
            name, value = struct.unpack_from(">II", payload, 4 + index * 8)
            if name & 0xFFFFFF == 7:  # SETTINGS_INITIAL_WINDOW_SIZE
                delta, self._peer_window = value - self._peer_window, value
                for stream in self._streams.values():
                    stream.enlarge(delta)

    def end(self) -> None:
        """The connection is gone: every stream ends."""
        for stream in list(self._streams.values()):
            stream.abort()
        self._streams.clear()
