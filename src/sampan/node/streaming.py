"""exec, attach and port-forward: between a WebSocket of the API and the streaming server of the runtime (SPDY).

The WebSocket side is Kubernetes' remotecommand protocol ``v5.channel.k8s.io`` (and v4): binary messages, the first byte is
the channel (0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize, 255 close of a channel). Port-forward is SPDY inside the
WebSocket (``SPDY/3.1+portforward.k8s.io``): each pair of an error and a data stream is a connection to the pod.
Source: KEP-4006, KEP-4404, the remotecommand protocol of Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sampan.node.runtime_network import dial
from sampan.node.spdy import Session, SpdyError, Stream

if TYPE_CHECKING:
    from aiohttp import web

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
REMOTE_COMMAND = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_FORWARD = ("SPDY/3.1+portforward.k8s.io",)
SPDY_COMMAND = "SPDY/3.1+remotecommand.k8s.io"
"""Between the API and this node: exec and attach of a client that speaks SPDY, carried as it is."""


class Upgraded:
    """A connection to the runtime's streaming server, upgraded to SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.session = Session(writer.write, client=True, drain=writer.drain)

    async def pump(self) -> None:
        """Feed the session until the connection ends."""
        try:
            while data := await self._reader.read(65536):
                self.session.feed(data)
        except (OSError, SpdyError):
            return
        finally:
            self.session.end()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def connect(url: str, runtime: Path) -> Upgraded:
    """Connect to a streaming URL that the runtime behind a socket gave. Raises ``OSError``, and ``SpdyError`` with what the
    server said."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http":
        raise SpdyError(f"the runtime's streaming server wants {parts.scheme}: only http is spoken here")
    reader, writer = await dial(parts.hostname or "", parts.port or 80, runtime)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    head += "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n"
    writer.write((head + "Content-Length: 0\r\n\r\n").encode())
    status = await reader.readline()
    while (await reader.readline()).strip():
        pass
    if b" 101 " not in status:
        text = (await reader.read(2048)).decode(errors="replace").strip()
        writer.close()
        raise SpdyError(text or status.decode(errors="replace").strip())
    return Upgraded(reader, writer)


async def bridge_command(
    socket: web.WebSocketResponse, upgraded: Upgraded, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> None:
    """Carry one exec or attach until it ends."""
    session = upgraded.session
    async with asyncio.TaskGroup() as group:
        pump = group.create_task(upgraded.pump(), name="runtime")
        try:
            names = ["error"] + ["stdin"] * stdin + ["stdout"] * stdout + ["stderr"] * (stderr and not tty)
            names += ["resize"] * tty
            streams = {name: session.open({"streamtype": name}) for name in names}
            for stream in streams.values():
                await stream.replied
            outputs = [
                group.create_task(_to_socket(socket, channel, streams[name]), name=name)
                for name, channel in (("stdout", STDOUT), ("stderr", STDERR))
                if name in streams
            ]
            inputs = group.create_task(_from_socket(socket, streams), name="input")
            verdict = await _everything(streams["error"])
            for task in outputs:
                await task
            await _send(socket, bytes([ERROR]) + (verdict or SUCCESS))
            inputs.cancel()
        except SpdyError as error:
            await _send(socket, bytes([ERROR]) + failure(str(error)))
        finally:
            pump.cancel()


SUCCESS = orjson.dumps({"metadata": {}, "status": "Success"})


def failure(message: str) -> bytes:
    """Return the Status that says why a stream failed."""
    status = {"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500}
    return orjson.dumps(status)


async def _send(socket: web.WebSocketResponse, message: bytes) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):  # the client has gone
        await socket.send_bytes(message)


async def _everything(stream: Stream) -> bytes:
    parts = []
    while piece := await stream.receive():
        parts.append(piece)
    return b"".join(parts)


async def _to_socket(socket: web.WebSocketResponse, channel: int, stream: Stream) -> None:
    while piece := await stream.receive():
        await _send(socket, bytes([channel]) + piece)


async def _from_socket(socket: web.WebSocketResponse, streams: dict[str, Stream]) -> None:
    """Carry stdin and sizes to the runtime; the end of the client ends stdin."""
    from aiohttp import WSMsgType

    channels = {STDIN: streams.get("stdin"), RESIZE: streams.get("resize")}
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == CLOSE and data and (stream := channels.get(data[0])) is not None:
            stream.close()
        elif (stream := channels.get(channel)) is not None and data:
            await stream.send(data)
    for stream in streams.values():
        stream.abort()


async def bridge_streams(socket: web.WebSocketResponse, upgraded: Upgraded) -> None:
    """Carry SPDY inside a WebSocket: every stream that the client opens is opened at the runtime too. Forwarded ports have
    a pair for each connection, a command has its ``streamtype``s."""
    from aiohttp import WSMsgType

    out: asyncio.Queue[bytes] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:

        def on_stream(theirs: Stream) -> None:
            headers = {
                name: theirs.headers[name] for name in ("streamtype", "port", "requestid") if name in theirs.headers
            }
            ours = upgraded.session.open(headers)
            group.create_task(_copy(theirs, ours), name="to-pod")
            group.create_task(_copy(ours, theirs), name="from-pod")

        session = Session(out.put_nowait, client=False, on_stream=on_stream, drain=out.join)
        tasks = [
            group.create_task(upgraded.pump(), name="runtime"),
            group.create_task(_drain(out, socket), name="client"),
        ]
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    session.feed(message.data)
        except SpdyError:
            pass
        finally:
            session.end()
            upgraded.session.end()
            for task in tasks:
                task.cancel()


async def _drain(out: asyncio.Queue[bytes], socket: web.WebSocketResponse) -> None:
    while True:
        await _send(socket, await out.get())
        out.task_done()


async def _copy(source: Stream, target: Stream) -> None:
    while piece := await source.receive():
        await target.send(piece)
    target.close()
