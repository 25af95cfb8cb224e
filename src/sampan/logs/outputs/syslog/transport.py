"""Messages to a receiver of syslog: datagrams, a TCP connection, TLS.

Syslog acknowledges nothing. A connection tells at least that the other side's kernel has the bytes: a batch counts as
delivered when none is on its way any more and the connection still stands; else all of it is sent again. A datagram is
sent, and a refusal by ICMP is taken for one; more there is not.
Source: RFC 5426 (UDP), RFC 6587 (TCP), RFC 5425 (TLS); tcp(7), ``SIOCOUTQ``.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import termios
from collections.abc import Sequence
from typing import Protocol

from sampan.logs.outputs.syslog.message import counted
from sampan.logs.outputs.tls import Contexts

FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.05
"""Seconds between looks whether bytes are on their way: the kernel has no event for it."""

JUDGED_SECONDS = 0.3
"""How long a new connection of TLS is listened to for the other side's refusal."""


class Transport(Protocol):
    async def send(self, messages: Sequence[bytes]) -> None:
        """Raises ``OSError`` (``TimeoutError`` is one): nobody knows how many have arrived."""

    async def close(self) -> None: ...


class Datagrams:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            found = await loop.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            await loop.sock_connect(self._socket, address)
        try:
            for message in messages:
                await loop.sock_sendall(self._socket, message)
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Connection:
    """``contexts``: of TLS, None for plain TCP."""

    def __init__(self, host: str, port: int, contexts: Contexts | None, timeout_seconds: float) -> None:
        self._address, self._contexts, self._timeout = (host, port), contexts, timeout_seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                if self._writer is None or self._is_closed():
                    await self.close()
                    await self._connect()
                assert self._writer is not None
                self._writer.writelines(map(counted, messages))
                await self._writer.drain()
                await self._until_taken(self._writer)
        except (OSError, TimeoutError):
            await self.close()
            raise

    async def _connect(self) -> None:
        context = self._contexts() if self._contexts is not None else None
        reader, writer = await asyncio.open_connection(*self._address, ssl=context)
        self._reader, self._writer = reader, writer
        if context is not None:
            # with TLS 1.3 our side has shaken hands before the other has judged our certificate
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(JUDGED_SECONDS):
                    await reader.read(1)

    def _is_closed(self) -> bool:
        return self._writer is None or self._writer.is_closing() or self._reader is None or self._reader.at_eof()

    async def _until_taken(self, writer: asyncio.StreamWriter) -> None:
        """Return when the other side has acknowledged every byte (of TCP). Raises ``OSError``."""
        pause, empty = FIRST_PAUSE, 0
        waiting = array.array("i", (0,))
        while True:
            descriptor = writer.get_extra_info("socket")
            if self._is_closed() or descriptor is None:
                raise ConnectionResetError("the receiver has closed the connection")
            fcntl.ioctl(descriptor.fileno(), termios.TIOCOUTQ, waiting)
            empty = empty + 1 if not waiting[0] and not writer.transport.get_write_buffer_size() else 0
            if empty > 1:  # below TLS lies a buffer that nobody tells of; the loop has emptied it in between
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._reader = self._writer = None
