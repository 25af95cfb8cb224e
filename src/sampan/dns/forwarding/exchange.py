"""One question to one resolver, by UDP, TCP or TLS: out of a socket and under an identity of its own.

The kernel chooses the port and a random source the identity, so that an answer cannot be guessed; a connected socket takes
datagrams of that resolver only, and what does not answer this question is dropped. Source: RFC 5452, RFC 7766, RFC 7858.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import struct
from typing import NamedTuple

from sampan.dns.wire import HEADER_SIZE

DATAGRAM_SIZE = 65535


class Address(NamedTuple):
    """Where a resolver is. ``tls``: by TLS, under this name where one is given."""

    host: str
    port: int = 53
    tls: bool = False
    server_name: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls://' if self.tls else ''}{host}:{self.port}"


async def ask(address: Address, query: bytes, *, udp: bool) -> bytes:
    """Return the answer to a query, under the query's identity. Raises ``OSError``; cancel it when it takes too long."""
    asked = struct.pack("!H", secrets.randbits(16)) + query[2:]
    answer = await (_by_udp(address, asked) if udp and not address.tls else _by_stream(address, asked))
    return query[:2] + answer[2:]


async def _by_udp(address: Address, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        asking.connect((address.host, address.port))

        def look() -> None:
            try:
                data = asking.recv(DATAGRAM_SIZE)
            except BlockingIOError:
                return
            except OSError as error:  # nobody listens there: ICMP said so
                if not answer.done():
                    answer.set_exception(error)
                return
            if not answer.done() and answers(data, query):
                answer.set_result(data)

        loop.add_reader(asking, look)
        try:
            asking.send(query)
            return await answer
        finally:
            loop.remove_reader(asking)


async def _by_stream(address: Address, query: bytes) -> bytes:
    context = ssl.create_default_context() if address.tls else None
    name = (address.server_name or address.host) if address.tls else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError(f"{address} closed the connection") from error
    finally:
        with contextlib.suppress(OSError):
            writer.close()
    if not answers(answer, query):
        raise ConnectionError(f"{address} answered another question")
    return answer


def answers(data: bytes, query: bytes) -> bool:
    """Whether a message is the answer to a query: same identity, an answer, same question."""
    if len(data) < HEADER_SIZE or data[:2] != query[:2] or not data[2] & 0x80:
        return False
    end = query.find(0, HEADER_SIZE) + 5
    return data[4:6] == b"\0\1" and data[HEADER_SIZE:end].lower() == query[HEADER_SIZE:end].lower()
