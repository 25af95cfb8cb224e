"""What is spoken through the gateway, by clients and servers that are none of Envoy: WebSocket, HTTP/2, gRPC, gRPC-Web."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import aiohttp
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from aiohttp import web
from grpclib.client import Channel, ServiceMethod, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from sampan.gateway.xds.ads import Raw, RawCodec

from .eventually import eventually_async
from .gateway_world import (
    HOST,
    Alone,
    any_certificate,
    certificate,
    free_port,
    gateway_object,
    on_host,
    route_object,
    secret,
    to,
)

SERVICE = "/echo.Echo"
PADDED = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class Echo:
    """A server of gRPC: answers with what it is sent, as often as the metadata say; fails where they ask for it."""

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{SERVICE}/Unary": Handler(self.unary, Cardinality.UNARY_UNARY, Raw, Raw),
            f"{SERVICE}/Talk": Handler(self.talk, Cardinality.STREAM_STREAM, Raw, Raw),
        }

    async def unary(self, stream: Any) -> None:
        message = await stream.recv_message()
        if "x-fail" in stream.metadata:
            raise GRPCError(Status.FAILED_PRECONDITION, "on purpose: 100 %")
        if "x-wait" in stream.metadata:
            await asyncio.sleep(30)
        await stream.send_initial_metadata(metadata={"x-initial": "yes"})
        await stream.send_message(message)
        await stream.send_trailing_metadata(metadata={"x-trailing": "yes"})

    async def talk(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(Raw(b"re: " + message.content))


async def talk_back(request: web.Request) -> web.StreamResponse:
    """Answer to WebSockets, to others with what they are."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        return web.json_response({"version": str(request.version), "proto": request.headers.get("x-forwarded-proto")})
    answer = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
    await answer.prepare(request)
    async for message in answer:
        if message.type == aiohttp.WSMsgType.TEXT:
            await answer.send_str(f"re: {message.data}")
        elif message.type == aiohttp.WSMsgType.BINARY:
            await answer.send_bytes(message.data[::-1])
    return answer


@contextlib.asynccontextmanager
async def backends() -> AsyncIterator[tuple[int, int]]:
    """Give the ports of a web server and of a gRPC server."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", talk_back)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    grpc = Server([Echo()], codec=RawCodec())
    await grpc.start("127.0.0.1", 0)
    assert site._server is not None and grpc._server is not None
    try:
        yield site._server.sockets[0].getsockname()[1], grpc._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        grpc.close()
        await grpc.wait_closed()
        await runner.cleanup()


class Front:
    def __init__(self, alone: Alone) -> None:
        self.alone, self.port, self.tls = alone, free_port(), free_port()

    async def write(self, web_port: int, grpc_port: int) -> None:
        tls = {"certificateRefs": [{"name": "certificate"}]}
        listeners: list[dict[str, Any]] = [
            {"name": "http", "port": self.port, "protocol": "HTTP"},
            {"name": "https", "port": self.tls, "protocol": "HTTPS", "tls": tls},
        ]
        group = "gateway.sampan.dev"
        for name, options in (
            ("strict", {f"{group}/tls-min-version": "1.3"}),
            ("chosen", {f"{group}/tls-cipher-suites": "ECDHE-ECDSA-AES256-GCM-SHA384"}),
            ("wrong", {"sampan/none": "x"}),
        ):
            own = {**tls, "options": options}
            listeners.append(
                {"name": name, "port": self.tls, "protocol": "HTTPS", "hostname": f"{name}.example", "tls": own}
            )
        methods = {"matches": [{"method": {"service": "echo.Echo"}}]}
        self.alone.write(
            gateway_object(*listeners),
            secret("default", "certificate", *certificate()),
            *on_host("default", "web", "127.0.0.1", web_port),
            *on_host("default", "echo", "127.0.0.1", grpc_port),
            *on_host("default", "clear", "127.0.0.1", grpc_port, appProtocol="kubernetes.io/h2c"),
            route_object("HTTPRoute", "web", to("web")),
            route_object(
                "HTTPRoute", "clear", to("clear", matches=[{"path": {"value": "/clear.Echo"}}], filters=[CLEAR])
            ),
            route_object("GRPCRoute", "echo", to("echo", **methods)),
        )

        async def answers() -> bool:
            where = (f"http://127.0.0.1:{self.port}/", f"https://127.0.0.1:{self.tls}/")
            with contextlib.suppress(aiohttp.ClientError):
                async with aiohttp.ClientSession() as session:
                    for url in where:
                        async with session.get(url, ssl=any_certificate()) as answer:
                            if answer.status != 200:
                                return False
                return True
            return False

        await eventually_async("the gateway answers", answers)


CLEAR = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": SERVICE}},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with Alone(tmp_path_factory.mktemp("protocols")) as there:
        yield Front(there)


@pytest.fixture
async def front(alone: Front) -> AsyncIterator[Front]:
    async with backends() as ports:
        await alone.write(*ports)
        yield alone


@pytest.mark.parametrize("secure", [False, True])
async def test_websockets(front: Front, secure: bool) -> None:
    url = f"wss://127.0.0.1:{front.tls}/" if secure else f"ws://127.0.0.1:{front.port}/"
    big = bytes(range(256)) * 8192
    async with aiohttp.ClientSession() as session:
        context: Any = any_certificate() if secure else True
        async with session.ws_connect(url, protocols=("chat",), ssl=context, max_msg_size=0) as client:
            assert client.protocol == "chat"
            for number in range(20):
                await client.send_str(f"message {number}")
                assert await client.receive_str() == f"re: message {number}"
            await client.send_bytes(big)
            assert await client.receive_bytes() == big[::-1]
            await client.close()
            assert client.close_code == 1000


async def test_browsers_are_told_to_open_websockets_by_http1(front: Front) -> None:
    """Envoy makes no handshake of RFC 6455 of an extended CONNECT (RFC 8441): it must not say that one may be sent."""

    def settings() -> Any:
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=False))
        client.initiate_connection()
        with socket.create_connection(("127.0.0.1", front.port), 20) as connection:
            connection.sendall(client.data_to_send())
            while True:
                for event in client.receive_data(connection.recv(65536)):
                    if isinstance(event, h2.events.RemoteSettingsChanged):
                        return event.changed_settings

    said = (await asyncio.to_thread(settings)).get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
    assert said is None or said.new_value == 0


@pytest.mark.parametrize("words", [["--http1.1"], ["--http2-prior-knowledge"], ["--http2", "-k"], ["--http1.1", "-k"]])
async def test_versions_of_http(front: Front, words: list[str]) -> None:
    secure = "-k" in words
    url = f"https://127.0.0.1:{front.tls}/" if secure else f"http://127.0.0.1:{front.port}/"
    command = ["curl", "-sS", *words, "-w", " %{http_version} %{response_code}", "--noproxy", "*", url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    version = "1.1" if "--http1.1" in words else "2"
    proto = "https" if secure else "http"
    assert done.stdout.endswith(f" {version} 200") and f'"proto": "{proto}"' in done.stdout


@contextlib.asynccontextmanager
async def channel(front: Front, secure: bool) -> AsyncIterator[Channel]:
    context = None
    if secure:
        context = any_certificate()
        context.set_alpn_protocols(["h2"])
    made = Channel("127.0.0.1", front.tls if secure else front.port, ssl=context, codec=RawCodec())
    try:
        yield made
    finally:
        made.close()


def unary(there: Channel, service: str = SERVICE) -> ServiceMethod[Any, Any]:
    return UnaryUnaryMethod(there, f"{service}/Unary", Raw, Raw)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("service", [SERVICE, "/clear.Echo"])
async def test_grpc_calls(front: Front, secure: bool, service: str) -> None:
    """By a GRPCRoute, and by an HTTPRoute to a port that says it speaks HTTP/2 in the clear."""
    async with channel(front, secure) as there:
        method = unary(there, service)
        async with method.open(metadata={"x-mine": "1"}) as stream:
            await stream.send_message(Raw(b"x" * 100_000), end=True)
            message = await stream.recv_message()
            await stream.recv_trailing_metadata()
            assert message is not None and message.content == b"x" * 100_000
            assert stream.initial_metadata is not None and stream.initial_metadata["x-initial"] == "yes"
            assert stream.trailing_metadata is not None and stream.trailing_metadata["x-trailing"] == "yes"
        with pytest.raises(GRPCError) as failed:
            await method(Raw(b""), metadata={"x-fail": "1"})
        assert (failed.value.status, failed.value.message) == (Status.FAILED_PRECONDITION, "on purpose: 100 %")
        with pytest.raises((asyncio.TimeoutError, GRPCError)):
            await method(Raw(b""), metadata={"x-wait": "1"}, timeout=0.3)
        several = await asyncio.gather(*(method(Raw(b"%d" % number)) for number in range(50)))
        assert [answer.content for answer in several] == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("secure", [False, True])
async def test_grpc_in_both_directions_at_once(front: Front, secure: bool) -> None:
    async with channel(front, secure) as there, StreamStreamMethod(there, f"{SERVICE}/Talk", Raw, Raw).open() as stream:
        for number in range(20):  # each is answered before the next is sent: nothing waits for the end
            await stream.send_message(Raw(b"%d" % number))
            answer = await stream.recv_message()
            assert answer is not None and answer.content == b"re: %d" % number
        await stream.end()
        assert await stream.recv_message() is None


def framed(message: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        flag, size = struct.unpack(">BI", data[:5])
        found.append((flag, data[5 : 5 + size]))
        data = data[5 + size :]
    return found


@pytest.mark.parametrize("text", [False, True])
async def test_grpc_web(front: Front, text: bool) -> None:
    """As browsers speak it: HTTP/1.1, the trailers in the body."""
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"

    async def call(message: bytes, **headers: str) -> list[tuple[int, bytes]]:
        body = base64.b64encode(framed(message)) if text else framed(message)
        url = f"http://127.0.0.1:{front.port}{SERVICE}/Unary"
        sent = {"content-type": kind, "x-grpc-web": "1", "accept": kind, **headers}
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=sent) as answer:
            assert answer.status == 200 and answer.headers["content-type"].startswith(kind.partition("+")[0])
            content = await answer.read()
        # each part of the text is padded by itself
        return frames(b"".join(map(base64.b64decode, PADDED.findall(content))) if text else content)

    (message, trailers) = await call(b"hello")
    assert message == (0, b"hello") and trailers[0] == 0x80
    assert b"grpc-status:0" in trailers[1] and b"x-trailing:yes" in trailers[1]
    failed = await call(b"", **{"x-fail": "1"})
    assert failed == [] or b"grpc-status:9" in failed[-1][1]


async def test_handshakes_by_the_options_of_the_listener(front: Front) -> None:
    def version(host: str, most: ssl.TLSVersion, ciphers: str = "") -> str | None:
        """Return the version, or what else was agreed on; None where nothing was."""
        context = any_certificate()
        context.maximum_version = most
        if ciphers:
            context.set_ciphers(ciphers)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            plain = socket.create_connection(("127.0.0.1", front.tls), 10)
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                return str((wrapped.cipher() or ("",))[0]) if ciphers else wrapped.version()
        return None

    both = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert await asyncio.to_thread(version, HOST, old) == "TLSv1.2"
    assert await asyncio.to_thread(version, "strict.example", new) == "TLSv1.3"
    assert await asyncio.to_thread(version, "strict.example", old) is None
    assert await asyncio.to_thread(version, "chosen.example", old, both) == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert await asyncio.to_thread(version, "wrong.example", new) == "TLSv1.3", "the one for all hosts serves it"
    wrong = "listener wrong: Accepted: UnsupportedValue: tls.options[sampan/none]: this option is not served"
    await eventually_async("the option is told", partial(asyncio.to_thread, front.alone.told, wrong))


async def test_what_offers_http2_alone_is_spoken_to(front: Front) -> None:
    def protocol(*offered: str) -> str | None:
        context = any_certificate()
        context.set_alpn_protocols(list(offered))
        plain = socket.create_connection(("127.0.0.1", front.tls), 10)
        with context.wrap_socket(plain, server_hostname=HOST) as wrapped:
            return wrapped.selected_alpn_protocol()

    assert await asyncio.to_thread(protocol, "h2") == "h2"
    assert await asyncio.to_thread(protocol, "h2", "http/1.1") == "h2"
    assert await asyncio.to_thread(protocol, "http/1.1") == "http/1.1"
    assert await asyncio.to_thread(protocol, "spdy/3") is None
