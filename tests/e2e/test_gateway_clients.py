"""Clients that are slow, greedy or many: what they hold of the gateway has an end, and others are served."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from .eventually import eventually
from .gateway_world import (
    Alone,
    ask,
    free_port,
    gateway_object,
    on_host,
    parameters_of,
    parameters_ref,
    route_object,
    to,
)
from .raw_backend import RawBackend

READERS = 40
STREAMS = 20
MIB = 1 << 20


class Front:
    def __init__(self, alone: Alone, port: int, backend: RawBackend) -> None:
        self.alone, self.port, self.backend = alone, port, backend

    def clients(self, **settings: object) -> None:
        """Say what is put up with from clients."""
        self.alone.write(
            gateway_object({"name": "http", "port": self.port, "protocol": "HTTP"}, infrastructure=parameters_ref("p")),
            parameters_of("p", clients=settings),
            *on_host("default", "raw", "127.0.0.1", self.backend.port),
            route_object("HTTPRoute", "r", to("raw")),
        )

    def status(self, **headers: str) -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(f"127.0.0.1:{self.port}", "/", **headers).status
        return 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def memory(self) -> int:
        """Return what Envoy has allocated, in bytes: what it keeps for later does not count."""
        return int(json.loads(self.alone.admin("/memory"))["allocated"])


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    backend = RawBackend()
    with Alone(tmp_path_factory.mktemp("clients")) as alone:
        made = Front(alone, free_port(), backend)
        made.clients()
        eventually("the gateway answers", lambda: made.status() == 200)
        yield made
    backend.end()


def test_more_clients_than_descriptors_starve_nobody(tmp_path: Path) -> None:
    alone, backend = Alone(tmp_path), RawBackend()
    alone.under = ("prlimit", "--nofile=500:500", "--")
    with alone:
        front = Front(alone, free_port(), backend)
        front.clients()
        eventually("the gateway answers", lambda: front.status() == 200)
        kept = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"/"
        clients = []
        try:
            for _ in range(600):
                clients.append(front.connect())
            eventually("some are refused", lambda: any(is_closed(one) for one in clients))
            for _ in range(20):
                kept.request("GET", "/")
                assert kept.getresponse().read() == b"/", "who is there is served"
        finally:
            for one in clients:
                one.close()
        eventually("there is room again", lambda: front.status() == 200)
    backend.end()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def ended(connection: socket.socket) -> bool:
    """Whether the gateway ends a connection that says nothing more, within the 30 s of ``connect``."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


def test_heads_and_bodies_that_never_end_do(front: Front) -> None:
    front.clients(requestHeadersTimeout="500ms", streamIdleTimeout="500ms", idleTimeout="500ms")

    def head_ends() -> bool:
        with front.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
            connection.settimeout(1.5)
            with contextlib.suppress(TimeoutError):
                return b" 408 " in connection.recv(4096)
            return False

    eventually("heads have a time limit", head_ends)
    with front.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert b" 408 " in connection.recv(4096)
    with front.connect() as connection:
        assert ended(connection), "a connection without a request"
    front.clients(requestTimeout="500ms")

    def trickle_ends() -> bool:
        with front.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n")
            connection.settimeout(0.1)
            for _ in range(30):
                connection.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    return b" 408 " in connection.recv(4096)
        return False

    eventually("a request as a whole has a time limit", trickle_ends)


def test_the_number_and_size_of_headers(front: Front) -> None:
    front.clients(maxHeaders=12, maxHeadersKiB=8)
    many = {f"x-{number}": "a" for number in range(20)}
    eventually("the limits hold", lambda: front.status(**many) == 431)
    assert front.status(x_a="a" * 9000) == 431
    assert front.status(x_a="a" * 7000) == 200
    front.clients(underscoresInHeaders="Reject")
    eventually("a _ is refused", lambda: raw_status(front, b"X_A: b") == b"400")
    front.clients(underscoresInHeaders="Allow")
    eventually("a _ is sent on", lambda: raw_status(front, b"X_A: b") == b"200")
    assert front.backend.requests[-1].header("x_a") == "b"


def raw_status(front: Front, header: bytes) -> bytes:
    with front.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        answer = connection.recv(4096)
        return answer.split(b" ")[1] if answer else b""


def settled(front: Front) -> int:
    """Return Envoy's memory when it does not grow any more."""
    before = 0
    for _ in range(200):
        now = front.memory()
        if now - before < MIB // 2:
            return now
        before = now
        time.sleep(0.3)
    raise AssertionError("it grows on and on")


def test_what_slow_readers_do_not_read_stays_with_the_backend(front: Front) -> None:
    front.clients()
    before = settled(front)
    readers = [front.connect() for _ in range(READERS)]
    try:
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.recv(10).startswith(b"HTTP/1.1")
        eventually("all are being answered", lambda: len(big(front)) >= READERS)
        assert settled(front) - before < READERS * 3 * MIB, "200 MB are to be had for each"
        assert front.status() == 200
    finally:
        for reader in readers:
            reader.close()


def big(front: Front) -> list[str]:
    return [request.path for request in front.backend.requests if request.path == "/big"]


def test_what_a_slow_backend_does_not_read_stays_with_the_client(front: Front) -> None:
    front.clients()
    assert front.status() == 200
    before = settled(front)
    front.backend.stalls.set()
    senders: list[socket.socket] = []
    try:
        for _ in range(5):
            senders.append(upload(front))
        assert settled(front) - before < 5 * STREAMS * MIB // 2
    finally:
        for connection in senders:
            connection.close()
        front.backend.stalls.clear()
    eventually("others are served", lambda: front.status() == 200)


def upload(front: Front) -> socket.socket:
    """Send as much as the gateway lets through on some streams of a connection; return that."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=False))
    client.initiate_connection()
    pairs = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/slow")]
    streams = range(1, 2 * STREAMS, 2)
    for stream in streams:
        client.send_headers(stream, pairs)
    connection = front.connect()
    connection.sendall(client.data_to_send())
    connection.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while True:
            client.receive_data(connection.recv(65536))
            for stream in streams:
                while (room := min(client.local_flow_control_window(stream), 16384)) > 0:
                    client.send_data(stream, b"x" * room)
            connection.sendall(client.data_to_send())
    return connection
