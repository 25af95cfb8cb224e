"""What bad, slow and many clients do to a real HTTPS server; and clients that speak SPDY."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sampan.api import tls
from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, listening, open_api
from sampan.client.resources import CONFIG_MAPS, NODES, PODS
from sampan.node.spdy import Session, Stream

ADMIN = User("admin", ("system:masters", "system:authenticated"))
MAPS = "/api/v1/namespaces/default/configmaps"


class Served:
    """An API that listens, and connections of the admin to it."""

    def __init__(self, api: Api, port: int, pki: Path) -> None:
        self.api, self.port = api, port
        self._context = ssl.create_default_context(cafile=pki / "ca.crt")
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self._context, limit=1 << 24)

    async def ask(self, raw: bytes) -> bytes:
        """Return all that comes back until the server closes the connection, or answers whole."""
        reader, writer = await self.connect()
        writer.write(raw)
        try:
            return (await answer_of(reader))[1]
        finally:
            writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the code and head and body of one answer."""
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), None
        )
        body = await reader.read() if length is None else await reader.readexactly(length)
    return int(head.split()[1]), head + body


@asynccontextmanager
async def serving(authority: Any) -> AsyncIterator[Served]:
    pki = authority.directory
    authority.write("admin", "admin", ("system:masters",))
    listener = socket.create_server(("127.0.0.1", 0))
    config = ApiConfig(pki_dir=pki, sockets=(listener,))
    api = await open_api(config)
    async with listening(api, config):
        yield Served(api, listener.getsockname()[1], pki)
    await api.close()


@pytest.fixture
async def served(make_authority: Callable[..., Any], tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(make_authority(tmp_path / "pki")) as made:
        yield made


async def test_a_watch_ends_as_it_should_when_the_server_stops(
    make_authority: Callable[..., Any], tmp_path: Path
) -> None:
    async with serving(make_authority(tmp_path / "pki")) as served:
        reader, writer = await served.connect()
        writer.write(f"GET {MAPS}?watch=true&resourceVersion=0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(60):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b'"ADDED"')
    async with asyncio.timeout(60):
        assert (await reader.read()).endswith(b"\r\n0\r\n\r\n")
    writer.close()


async def test_headers_that_do_not_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HEADER_SECONDS", 0.2)
    silent, begun = await served.connect(), await served.connect()
    begun[1].write(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    for reader, writer in (silent, begun):
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
    # a second request of a connection may be slow, too; and others are served meanwhile
    reader, writer = await served.connect()
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answer_of(reader))[0] == 200
    writer.write(b"GET /ver")
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()


async def test_heads_that_are_too_large_and_what_is_no_http(served: Served) -> None:
    large = b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"X-Filling: " + b"a" * (2 << 20)
    assert b" 431 " in await served.ask(large)
    for wrong in (
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ):
        assert (await served.ask(wrong)).startswith(b"HTTP/1.1 400 ")
    assert b"200 OK" in await served.ask(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    reader, writer = await served.connect()
    paths = [b"/version", MAPS.encode() + b"/none", b"/livez"]
    writer.write(b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
    codes = [(await answer_of(reader))[0] for _ in paths]
    assert codes == [200, 404, 200]
    writer.close()


async def test_bodies_that_are_slow_deep_or_none(served: Served) -> None:
    served.api.request_seconds = 0.3
    head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    assert b" 504 " in await served.ask(head + b"Content-Length: 100\r\n\r\n{")
    served.api.request_seconds = 60.0
    deep = b'{"metadata":{"name":"deep"},"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = await served.ask(head + b"Content-Length: %d\r\n\r\n" % len(deep) + deep)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
    for body in (b"", b"\xff\xfe", b"[]", b"null", b"{"):
        answer = await served.ask(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.startswith(b"HTTP/1.1 400 "), (body, answer[:200])


def memory(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
async def test_100_mb_are_refused_without_being_kept(start_server: Callable[..., Any], tmp_path: Path) -> None:
    server = await asyncio.to_thread(start_server, tmp_path, store=False)
    context = ssl.create_default_context(cafile=server.pki_dir / "ca.crt")
    context.load_cert_chain(server.pki_dir / "admin.crt", server.pki_dir / "admin.key")
    port = int(server.url.rpartition(":")[2])
    before = memory(server.process.pid)
    piece = b"x" * (1 << 20)
    for length in (b"Content-Length: %d" % (100 << 20), b"Transfer-Encoding: chunked"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(
            f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode() + length + b"\r\n\r\n"
        )
        answer = asyncio.ensure_future(answer_of(reader))
        sent = 0
        while sent < 100 and not answer.done():
            writer.write(piece if length.startswith(b"C") else b"100000\r\n" + piece + b"\r\n")
            await writer.drain()
            sent += 1
        code, text = await answer
        assert code == 413 and b"Request entity too large: limit is 3145728" in text
        writer.close()
    assert memory(server.process.pid) - before < 40 << 20


async def test_5000_watches_hear_of_one_change(local_api: Api) -> None:
    """Each watch is a request as the server has it, without its socket."""
    local_api.audit = None
    heard, started = 0, 0
    ready, all_heard, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class AsAdmin:
        def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User:
            return ADMIN

    local_api.authenticator = AsAdmin()

    async def watch() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": MAPS,
            "query_string": b"watch=true&resourceVersion=1",
            "headers": [],
        }

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal heard, started
            if message["type"] == "http.response.start":
                started += 1
                if started == 5000:
                    ready.set()
            elif b'"name":"told"' in message["body"]:
                heard += 1
                if heard == 5000:
                    all_heard.set()

        await local_api(scope, receive, send)

    tasks = [asyncio.ensure_future(watch()) for _ in range(5000)]
    async with asyncio.timeout(60):
        await ready.wait()
        await LocalClient(local_api, ADMIN).create(CONFIG_MAPS, {"metadata": {"name": "told"}}, "default")
        await all_heard.wait()
        assert sum(local_api.metrics.running.values()) == 5000
        gone.set()
        await asyncio.gather(*tasks)
    assert sum(local_api.metrics.running.values()) == 0


# SPDY


@asynccontextmanager
async def kubelet(authority: Any, port: int) -> AsyncIterator[None]:
    """A kubelet that takes SPDY inside a WebSocket and echoes ``stdin`` to ``stdout``, then ends with success."""
    from aiohttp import WSMsgType, web

    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority.write("kubelet", "system:node:one", extension=names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.directory / "kubelet.crt", authority.directory / "kubelet.key")

    async def serve(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(protocols=("SPDY/3.1+remotecommand.k8s.io",))
        await ws.prepare(request)
        streams: dict[str, Stream] = {}
        out: asyncio.Queue[bytes] = asyncio.Queue()
        complete = asyncio.Event()

        def on_stream(opened: Stream) -> None:
            streams[opened.headers["streamtype"]] = opened
            if len(streams) == 3:
                complete.set()

        session = Session(out.put_nowait, client=False, on_stream=on_stream)

        async def pump() -> None:
            while True:
                await ws.send_bytes(await out.get())

        async def echo() -> None:
            await complete.wait()
            while piece := await streams["stdin"].receive():
                await streams["stdout"].send(piece.upper())
            streams["stdout"].close()
            await streams["error"].send(b'{"status":"Success"}')
            streams["error"].close()

        tasks = [asyncio.ensure_future(pump()), asyncio.ensure_future(echo())]
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                session.feed(message.data)
        for task in tasks:
            task.cancel()
        return ws

    app = web.Application()
    app.router.add_get("/exec/default/box/main", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_exec_over_spdy(make_authority: Callable[..., Any], tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "pki")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with serving(authority) as served, kubelet(authority, port):
        admin = LocalClient(served.api, ADMIN)
        endpoint = {"kubeletEndpoint": {"Port": port}}
        status = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": endpoint}
        await admin.create(NODES, {"metadata": {"name": "one"}, "status": status})
        spec = {"nodeName": "one", "containers": [{"name": "main", "image": "i"}]}
        await admin.create(PODS, {"metadata": {"name": "box"}, "spec": spec}, "default")
        path = "/api/v1/namespaces/default/pods/box/exec?command=cat&stdin=true&stdout=true"
        ask = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
        refused = await served.ask(f"{ask}X-Stream-Protocol-Version: v1.channel.k8s.io\r\n\r\n".encode())
        assert b" 403 " in refused and b"unable to negotiate protocol" in refused
        assert b" 400 " in await served.ask(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        reader, writer = await served.connect()
        offered = "".join(f"X-Stream-Protocol-Version: v{n}.channel.k8s.io\r\n" for n in (5, 4, 3))
        writer.write(f"{ask}{offered}\r\n".encode())
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ") and b"X-Stream-Protocol-Version: v4.channel.k8s.io" in head
            session = Session(writer.write, client=True)
            error, stdin, stdout = (session.open({"streamtype": name}) for name in ("error", "stdin", "stdout"))

            async def pump() -> None:
                while data := await reader.read(65536):
                    session.feed(data)

            pumping = asyncio.ensure_future(pump())
            text = b"spdy" * 50_000
            await stdin.send(text)
            stdin.close()
            got = b""
            while piece := await stdout.receive():
                got += piece
            assert got == text.upper()
            assert json.loads(await error.receive()) == {"status": "Success"}
        pumping.cancel()
        writer.close()


def test_a_peer_without_windows_is_not_waited_for() -> None:
    """containerd's SPDY never enlarges a window: 64 KiB of stdin were all that went through."""

    async def main() -> None:
        frames: list[bytes] = []
        session = Session(frames.append, client=True)
        stream = session.open({"streamtype": "stdin"})
        async with asyncio.timeout(60):
            await stream.send(b"x" * 300_000)
        data = [frame for frame in frames if not frame[0] & 0x80]
        assert sum(struct.unpack(">I", b"\0" + frame[5:8])[0] for frame in data) == 300_000

    asyncio.run(main())


async def test_requests_leave_nothing_for_the_collector(served: Served) -> None:
    """A circle between a request and its connection would be found only by the cycle collector: memory grows until then."""
    gc.collect()
    gc.disable()
    try:
        reader, writer = await served.connect()
        for _ in range(20):
            writer.write(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"}")
        kept = sum(type(obj).__name__ == "RequestResponseCycle" for obj in gc.get_objects())
        writer.close()
    finally:
        gc.enable()
    assert kept <= 2
