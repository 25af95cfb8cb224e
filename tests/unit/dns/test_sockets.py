"""The server on real sockets: batches of datagrams, TCP, bursts, slow clients, and one client that asks for everything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import dns.asyncquery
import dns.message
import pytest

from sampan.dns import streams, wire
from sampan.dns.batches import Datagrams, bind
from sampan.dns.forwarding.exchange import Address
from sampan.dns.forwarding.forwarder import Forwarder
from sampan.dns.forwarding.upstreams import ForwardSettings
from sampan.dns.http_pages import Pages
from sampan.dns.pending import Waiting
from sampan.dns.responder import Responder
from sampan.dns.streams import Streams

from .cluster import Cluster, code, data, query
from .upstream import addresses, running

WEB = "web.shop.svc.cluster.local"
AT_ONCE = 100
"""What the buffers of those who are not root take."""


@dataclass
class Running:
    host: str
    port: int
    responder: Responder
    waiting: Waiting
    streams: Streams

    @contextlib.contextmanager
    def socket(self, source: str = "") -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            if source:
                made.bind((source, 0))
            made.connect((self.host, self.port))
            yield made


@contextlib.asynccontextmanager
async def served(host: str = "127.0.0.1", **limits: int) -> AsyncIterator[Running]:
    cluster = Cluster()
    cluster.namespace("shop")
    cluster.service("web", clusterIP="10.240.64.7")
    answering = addresses({"www.example.org": "192.0.2.1"})
    silent = "silent"
    async with running(lambda m, udp: None if silent in str(m.question[0].name) else answering(m, udp)) as up:
        sockets = bind(host, 0)
        async with asyncio.TaskGroup() as group:
            forwarder = Forwarder([up.settings(read_seconds=60.0)], None, (), group.create_task)
            responder = cluster.responder(forwarder=forwarder)
            waiting = Waiting(group.create_task, **limits)
            tcp = Streams(lambda: responder, waiting)
            datagrams = Datagrams(sockets[0], lambda: responder, waiting.take)
            datagrams.start()
            server = await asyncio.start_server(tcp.serve, sock=sockets[1])
            where = "::1" if host == "::" else "127.0.0.2" if host == "0.0.0.0" else host
            yield Running(where, sockets[0].getsockname()[1], responder, waiting, tcp)
            datagrams.stop()
            server.close()
            for task in asyncio.all_tasks():
                if task.get_name().startswith("dns-"):
                    task.cancel()
        sockets[0].close()


async def by_udp(server: Running, name: str, **options: Any) -> dns.message.Message:
    asked = dns.message.make_query(name + ".", "A", **options)
    return await dns.asyncquery.udp(asked, server.host, 60, server.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_udp_on_every_kind_of_address(host: str) -> None:
    async with served(host) as server:
        # dnspython takes the answer from the very address it asked, and no other
        for name, options in ((WEB, {}), (WEB.upper(), {"use_edns": 0}), ("no.shop.svc.cluster.local", {})):
            assert code(await by_udp(server, name, **options)) in ("NOERROR", "NXDOMAIN")
        assert data(await by_udp(server, "www.example.org")) == ["192.0.2.1"]


async def receive(one: socket.socket) -> bytes:
    async with asyncio.timeout(60):
        return await asyncio.get_running_loop().sock_recv(one, 4096)


async def test_ten_thousand_queries_are_all_answered() -> None:
    async with served() as server:
        with server.socket() as one:
            for start in range(0, 10_000, AT_ONCE):
                for number in range(start, start + AT_ONCE):
                    one.send(query(WEB if number % 3 else "no.shop.svc.cluster.local", id=number + 1))
                seen = {int.from_bytes((await receive(one))[:2]) for _ in range(AT_ONCE)}
                assert seen == set(range(start + 1, start + AT_ONCE + 1))
        assert sum(server.responder.metrics.hits.values()) == 6666


async def test_a_client_that_waits_for_a_silent_resolver_starves_nobody() -> None:
    of_one = 50
    async with served(of_one=of_one, at_most=100) as server:
        with server.socket() as greedy, server.socket("127.0.0.9") as other:
            refused = []
            for start in range(0, 1000, of_one):  # the first fifty wait, all others are told at once
                for number in range(start, start + of_one):
                    greedy.send(query(f"n{number}.silent.example.org", id=number + 1))
                for _ in range(of_one if start else 0):
                    refused.append(dns.message.from_wire(await receive(greedy)))
            assert {code(answer) for answer in refused} == {"REFUSED"} and server.waiting.rejected == 950
            other.send(query("www.example.org"))
            assert data(dns.message.from_wire(await receive(other))) == ["192.0.2.1"]
            greedy.send(query(WEB))
            assert data(dns.message.from_wire(await receive(greedy))) == ["10.240.64.7"]


async def test_rubbish_between_queries() -> None:
    async with served() as server:
        with server.socket() as one:
            for rubbish in (b"", b"x", b"\xff" * 600, query(WEB)[:20], b"\0" * 12):
                one.send(rubbish)
            one.send(query(WEB, id=7))
            while (answer := await receive(one))[:2] != b"\0\7":
                assert answer[3] & 0xF == 1
            assert data(dns.message.from_wire(answer)) == ["10.240.64.7"]


async def ask_by_tcp(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *names: str
) -> dict[int, dns.message.Message]:
    for number, name in enumerate(names, 1):
        asked = query(name, id=number)
        writer.write(struct.pack("!H", len(asked)) + asked)
    found = {}
    for _ in names:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(size))
        found[answer.id] = answer
    return found


async def test_many_questions_on_one_connection() -> None:
    async with served() as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        found = await ask_by_tcp(reader, writer, "www.example.org", WEB, "no.shop.svc.cluster.local", WEB)
        assert [code(found[n]) for n in (1, 2, 3, 4)] == ["NOERROR", "NOERROR", "NXDOMAIN", "NOERROR"]
        writer.close()


async def test_connections_are_bounded_and_silent_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CONNECTIONS_OF_ONE", 3)
    monkeypatch.setattr(streams, "IDLE_SECONDS", 1.0)
    async with served() as server, asyncio.timeout(60):
        held = [await asyncio.open_connection(server.host, server.port) for _ in range(3)]
        for reader, writer in held:
            await ask_by_tcp(reader, writer, WEB)
        late, _ = await asyncio.open_connection(server.host, server.port)
        with contextlib.suppress(ConnectionError):
            assert await late.read() == b""
        assert server.streams.refused == 1
        held[0][1].write(b"\0")  # half a length, and then nothing
        for reader, _ in held:
            assert await reader.read() == b"", "the server ends what is silent"
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert await ask_by_tcp(reader, writer, WEB)
        writer.close()


async def test_a_client_that_takes_no_answers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(streams, "UNSENT_BYTES", 1024)
    async with served() as server, asyncio.timeout(60):
        _, writer = await asyncio.open_connection(server.host, server.port, limit=64)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked = query(WEB)
        with contextlib.suppress(ConnectionError):
            while not writer.transport.is_closing():
                writer.write((struct.pack("!H", len(asked)) + asked) * 1000)
                await writer.drain()
                await asyncio.sleep(0)
        assert data(await by_udp(server, WEB)) == ["10.240.64.7"]


async def test_a_server_that_forwards_to_itself_sees_it() -> None:
    sockets = bind("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        forwarder = Forwarder([ForwardSettings(addresses=(Address("127.0.0.1", port),))], None, (), group.create_task)
        responder = Cluster().responder(forwarder=forwarder)
        datagrams = Datagrams(sockets[0], lambda: responder, Waiting(group.create_task).take)
        datagrams.start()
        await forwarder.look_for_circles()
        assert forwarder.lines[0].looping
        assert await forwarder.ask(wire.name_to_wire("www.example.org"), wire.A, False) is None
        datagrams.stop()
    for one in sockets:
        one.close()


async def test_pages() -> None:
    pages, ready = Pages(), False
    both = {"/health": lambda: (200, "OK"), "/ready": lambda: (200, "OK") if ready else (503, "kubernetes")}
    await pages.serve({("127.0.0.1", 0): both})
    (where,) = pages.addresses.values()

    async def get(line: str) -> bytes:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(line.encode() + b"\r\n\r\n")
        found = await reader.read()
        writer.close()
        return found

    assert (await get("GET /health HTTP/1.1")).startswith(b"HTTP/1.1 200 OK")
    assert (await get("GET /ready HTTP/1.1")).startswith(b"HTTP/1.1 503")
    ready = True
    assert (await get("GET /ready?x HTTP/1.1")).endswith(b"OK")
    assert (await get("POST /ready HTTP/1.1")).startswith(b"HTTP/1.1 405")
    assert (await get("GET / HTTP/1.1")).startswith(b"HTTP/1.1 404")
    assert (await get("\x00")).startswith(b"HTTP/1.1 404")
    await pages.serve({})
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*where)
    pages.close()
