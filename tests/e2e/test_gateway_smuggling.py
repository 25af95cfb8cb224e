"""Requests that two servers could read differently: Envoy refuses them, or sends on what can be read in one way only."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from .eventually import eventually
from .gateway_world import Alone, ask, free_port, gateway_object, on_host, route_object, to
from .raw_backend import RawBackend

SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
"""What is to come out at the backend as a request of its own."""


class Front:
    def __init__(self, port: int, backend: RawBackend) -> None:
        self.port, self.backend = port, backend

    def send(self, data: bytes, answers: int = 1) -> bytes:
        """Send bytes, return what comes back until the gateway closes or is silent after so many answers."""
        self.backend.requests.clear()
        self.backend.strange.clear()
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(data)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while part := connection.recv(65536):
                    answer += part
                    if answer.count(b"HTTP/1.1 ") >= answers:
                        connection.settimeout(0.5)
        return answer

    def paths(self) -> list[str]:
        return [request.path for request in self.backend.requests]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    backend, port = RawBackend(), free_port()
    with Alone(tmp_path_factory.mktemp("smuggling")) as alone:
        alone.write(
            gateway_object({"name": "http", "port": port, "protocol": "HTTP"}),
            *on_host("default", "raw", "127.0.0.1", backend.port),
            route_object("HTTPRoute", "r", to("raw")),
        )

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return ask(f"127.0.0.1:{port}", "/").status == 200
            return False

        eventually("the gateway answers", answers)
        yield Front(port, backend)
    backend.end()


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"POST /first HTTP/1.1", b"Host: x", *headers, b"", body))


CHUNKED = b"Transfer-Encoding: chunked"
REFUSED = {
    "CL.TE": post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\n" + SECOND),
    "TE.CL": post(CHUNKED, b"Content-Length: 3", body=b"8\r\nSMUGGLED\r\n0\r\n\r\n" + SECOND),
    "TE.TE twice": post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + SECOND),
    "TE.TE other": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
    "TE.TE list": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SECOND),
    "TE space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SECOND),
    "TE vertical tab": post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + SECOND),
    "two lengths": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd" + SECOND),
    "a list of lengths": post(b"Content-Length: 3, 3", body=b"abc" + SECOND),
    "length +3": post(b"Content-Length: +3", body=b"abc" + SECOND),
    "length -3": post(b"Content-Length: -3", body=b"abc" + SECOND),
    "length 0x3": post(b"Content-Length: 0x3", body=b"abc" + SECOND),
    "a chunk of 2^68 bytes": post(CHUNKED, body=b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n" + SECOND),
    "a chunk without its end": post(CHUNKED, body=b"3\r\nabcXX0\r\n\r\n" + SECOND),
    "a chunk's size, bare LF": post(CHUNKED, body=b"3\nabc\n0\n\n" + SECOND),
    "a chunk's extension, bare LF": post(CHUNKED, body=b"2;\nxx\r\n4\r\nabcd\r\n0\r\n\r\n" + SECOND),
    "NUL": post(b"X-A: b\x00c"),
    "a method that is none": b"G(T /first HTTP/1.1\r\nHost: x\r\n\r\n" + SECOND,
    "a space in the path": b"GET /first second HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /first HTTP/1.1\r\n\r\n",
    "chunked for HTTP/1.0": b"POST /first HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a hop-by-hop X-Forwarded-For": post(b"Connection: close, X-Forwarded-For"),
    "no HTTP": b"\x16\x03\x01\x00\x00garbage\r\n\r\n",
    "70,000 bytes of headers": post(b"X-A: " + b"a" * 70_000),
    "200 headers": post(*(b"X-%d: a" % number for number in range(200))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(front: Front, name: str) -> None:
    answer = front.send(REFUSED[name])
    assert answer.split(b" ")[1] in (b"400", b"404", b"426", b"431", b"501"), answer
    assert answer.count(b"HTTP/1.1 ") == 1, "there is one answer, and the connection ends"
    assert "/second" not in front.paths() and not [one for one in front.backend.strange if b"/second" in one]


HEADERS = b"GET /first HTTP/1.1\r\nHost: x\r\n"
READ_IN_ONE_WAY = {
    "a folded header": (HEADERS + b"X-A: b\r\n c\r\n\r\n", {"x-a": "b c"}),
    "a folded Transfer-Encoding": (
        post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
        {"transfer-encoding": "chunked"},
    ),
    "lines that end in LF": (b"GET /first HTTP/1.1\nHost: x\nX-A: b\n\n", {"x-a": "b"}),
    "a bare CR": (HEADERS + b"X-A: b\rX-B: c\r\n\r\n", {"x-b": None}),
    "a _ for a -": (HEADERS + b"X_Forwarded_User: me\r\n\r\n", {"x_forwarded_user": None, "x-forwarded-user": None}),
    "an offer of HTTP/2": (HEADERS + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", {"upgrade": None}),
    "Envoy's own headers": (
        HEADERS + b"X-Envoy-Original-Path: /other\r\nX-Envoy-Max-Retries: 9\r\nX-Envoy-Internal: true\r\n\r\n",
        {"x-envoy-original-path": None, "x-envoy-max-retries": None, "x-envoy-internal": None},
    ),
    "a trailer of a length": (
        post(CHUNKED, body=b"3\r\nabc\r\n0\r\nContent-Length: 10\r\n\r\n"),
        {"content-length": None},
    ),
    "an own request id": (HEADERS + b"X-Request-Id: mine\r\n\r\n", {"x-request-id": "mine"}),
}


@pytest.mark.parametrize("name", READ_IN_ONE_WAY)
def test_what_is_sent_on_can_be_read_in_one_way_only(front: Front, name: str) -> None:
    data, headers = READ_IN_ONE_WAY[name]
    assert front.send(data).startswith(b"HTTP/1.1 200 ")
    (request,) = front.backend.requests
    assert {header: request.header(header) for header in headers} == headers
    assert b"\n" not in request.head.replace(b"\r\n", b"") and b"\r" not in request.head.replace(b"\r\n", b"")


def test_a_body_is_a_body_and_what_follows_is_the_next_request(front: Front) -> None:
    answer = front.send(
        HEADERS + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND + SECOND.replace(b"second", b"third"), 2
    )
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert [(request.path, request.body) for request in front.backend.requests] == [("/first", SECOND), ("/third", b"")]


def test_an_upgrade_that_is_refused_is_no_tunnel(front: Front) -> None:
    head = HEADERS + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n"
    answer = front.send(head + SECOND)
    assert answer.startswith(b"HTTP/1.1 200 ") and front.paths() == ["/first"]


FIRST = {":method": b"POST", ":scheme": b"http", ":authority": b"x", ":path": b"/first"}
Pairs = list[tuple[bytes, bytes]]


def h2_pairs(*more: tuple[str, bytes], **changed: bytes) -> Pairs:
    pairs = FIRST | {f":{name}": value for name, value in changed.items()}
    return [(name.encode(), value) for name, value in (*pairs.items(), *more)]


H2: dict[str, tuple[Pairs, bytes | None, Pairs]] = {
    "Transfer-Encoding": (h2_pairs(("transfer-encoding", b"chunked")), b"0\r\n\r\n" + SECOND, []),
    "a length below the body's": (h2_pairs(("content-length", b"0")), SECOND, []),
    "a length above the body's": (h2_pairs(("content-length", b"90")), SECOND, []),
    "two lengths": (h2_pairs(("content-length", b"3"), ("content-length", b"4")), b"abc", []),
    "CR LF in a value": (h2_pairs(("x-a", b"b\r\n\r\n" + SECOND[:-4])), None, []),
    "LF in a value": (h2_pairs(("x-a", b"b\nx-b: c")), None, []),
    "NUL in a value": (h2_pairs(("x-a", b"b\x00c")), None, []),
    "CR LF in a name": (h2_pairs(("x-a: b\r\nx-b", b"c")), None, []),
    "a colon in a name": (h2_pairs(("x-a:b", b"c")), None, []),
    "an upper-case name": (h2_pairs(("X-A", b"c")), None, []),
    "a request in the path": (h2_pairs(path=b"/first HTTP/1.1\r\n\r\nGET /second"), None, []),
    "a space in the path": (h2_pairs(path=b"/first HTTP/1.1"), None, []),
    "a request in the method": (h2_pairs(method=b"GET /second HTTP/1.1\r\nhost: x\r\n\r\nGET"), None, []),
    "CR LF in the host": (h2_pairs(authority=b"x\r\nx-b: c"), None, []),
    "a path in the host": (h2_pairs(authority=b"x/second"), None, []),
    "a URL for a scheme": (h2_pairs(scheme=b"http://x/second?"), None, []),
    "two paths": ([*h2_pairs(), (b":path", b"/second")], None, []),
    "a path after headers": ([*h2_pairs()[:3], (b"x-a", b"b"), (b":path", b"/second")], None, []),
    "Connection": (h2_pairs(("connection", b"close")), None, []),
    "an upgrade": (h2_pairs(("upgrade", b"websocket"), ("connection", b"upgrade")), None, []),
    "a length as trailer": (h2_pairs(), b"abc", [(b"content-length", b"90")]),
    "a path as trailer": (h2_pairs(), b"abc", [(b":path", b"/second")]),
}


def h2_outcome(front: Front, pairs: Pairs, body: bytes | None, trailers: Pairs) -> list[Any]:
    """Return what comes of a request of HTTP/2: a status, the end of the stream or of the connection."""
    settings = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=False
    )
    client = h2.connection.H2Connection(settings)
    client.initiate_connection()
    client.send_headers(1, pairs, end_stream=body is None)
    if body is not None:
        client.send_data(1, body, end_stream=not trailers)
    if trailers:
        client.send_headers(1, trailers, end_stream=True)
    with socket.create_connection(("127.0.0.1", front.port), 20) as connection:
        connection.sendall(client.data_to_send())
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                for event in client.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        return [dict(event.headers)[b":status"]]
                    if isinstance(event, h2.events.StreamReset):
                        return ["reset"]
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    connection.sendall(client.data_to_send())
    return ["closed"]


@pytest.mark.parametrize("name", H2)
def test_nothing_is_smuggled_through_http2(front: Front, name: str) -> None:
    front.backend.requests.clear()
    front.backend.strange.clear()
    assert h2_outcome(front, *H2[name]) in (["reset"], ["closed"])
    for request in front.backend.requests:  # what was sent on before the fault came is one request, and not answered
        assert request.path == "/first" and request.header("x-b") is None and not request.body
    assert not [one for one in front.backend.strange if b"/second" in one]
