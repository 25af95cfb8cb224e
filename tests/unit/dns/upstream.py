"""A resolver for tests, on the loopback, by UDP and TCP on one port; what it answers is a function of the question."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from sampan.dns.batches import bind
from sampan.dns.forwarding.exchange import Address
from sampan.dns.forwarding.upstreams import ForwardSettings

Answering = Callable[[dns.message.Message, bool], dns.message.Message | bytes | None]
SOA = "ns.example.org. admin.example.org. 1 7200 1800 86400 {}"


@dataclass
class Upstream:
    answering: Answering
    port: int = 0
    udp: list[str] = field(default_factory=list)
    """Names that were asked, with their type."""
    tcp: list[str] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    def settings(self, **options: Any) -> ForwardSettings:
        return ForwardSettings(addresses=(self.address,), **{"read_seconds": 1.0, **options})

    def answer(self, data: bytes, udp: bool) -> bytes | None:
        asked = dns.message.from_wire(data)
        question = asked.question[0]
        (self.udp if udp else self.tcp).append(f"{question.name} {question.rdtype.name}")
        answer = self.answering(asked, udp)
        return answer if answer is None or isinstance(answer, bytes) else answer.to_wire(max_size=65535)


def addresses(table: dict[str, str], ttl: int = 60, minimum: int = 30) -> Answering:
    """Answer A of the table's names (``CNAME x`` leads on), NODATA for other types, else NXDOMAIN."""

    def answering(asked: dns.message.Message, udp: bool) -> dns.message.Message:
        question, answer = asked.question[0], dns.message.make_response(asked, recursion_available=True)
        name = str(question.name).lower().rstrip(".")
        found = table.get(name)
        while found and found.startswith("CNAME "):
            answer.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", "CNAME", found[6:] + "."))
            name = found[6:]
            found = table.get(name)
        if found and question.rdtype.name == "A":
            answer.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", "A", *found.split()))
        else:
            answer.authority.append(dns.rrset.from_text("example.org.", 300, "IN", "SOA", SOA.format(minimum)))
            answer.set_rcode(dns.rcode.NOERROR if found else dns.rcode.NXDOMAIN)
        return answer

    return answering


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.upstream.answer(data, True)
        if answer is not None:
            self.transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def running(answering: Answering) -> AsyncIterator[Upstream]:
    upstream = Upstream(answering)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            answer = upstream.answer(await reader.readexactly(size), False)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()

    datagrams, streams = bind("127.0.0.1", 0)
    upstream.port = datagrams.getsockname()[1]
    server = await asyncio.start_server(connection, sock=streams)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(upstream), sock=datagrams)
    try:
        yield upstream
    finally:
        transport.close()
        server.close()


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # what it waits for is another's own count
            await asyncio.sleep(0.01)
