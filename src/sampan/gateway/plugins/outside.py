"""A plugin's own process: what ``processes.py`` starts, ``python -m sampan.gateway.plugins.outside``.

It imports the plugin, serves what Envoy asks (gRPC on a Unix socket) and what ``sampan gateway plugins`` asks (the counters,
on another), and says on its standard output what the plugin is (``Ready``) when it is ready. Its end is the end of nothing
else, so it ends itself where that is the only remedy:

- code that holds the loop longer than a request may take: a watchdog in C writes the stack and ends the process;
- memory beyond what the Plugin may have: the kernel refuses it, the request fails, and the process ends after its requests.

After SIGTERM it answers what it has begun, and ends. Source: setrlimit(2), RLIMIT_DATA.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import resource
import signal
import sys
from typing import Any, NamedTuple

from sampan.gateway.plugins import streamed
from sampan.gateway.plugins.conversation import METHOD
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.host import Hook, load, processor_of
from sampan.gateway.plugins.processor import Processing
from sampan.gateway.plugins.quick import reason_of_processor
from sampan.gateway.plugins.wasm import HTTP_WASM
from sampan.gateway.xds.ads import Raw, RawCodec

CHECK_METHOD = "/envoy.service.auth.v3.Authorization/Check"
WINDOW_BYTES = 1 << 18
"""So much of a body may be on its way to the plugin before it takes it."""
GRACE_SECONDS = 1.0
"""Beyond a request's time limit: what awaits is ended by the limit itself."""
LINGER_SECONDS = 0.5
"""What is on its way when Envoy has been told of another version may come yet."""
OUT_OF_MEMORY = 66
"""The exit code of a process that has had more memory than it may."""
LAST_BYTES = 32 << 20
"""What it may have more when that has happened, to say so and to end."""
HUNG = 1
"""What the watchdog ends the process with."""


class Ready(NamedTuple):
    """What a process says of its plugin when it is ready, as a line of JSON."""

    phases: tuple[str, ...] = ()
    """What of an exchange a processor has methods for."""
    slow: str = ""
    """Why it is not shown of a processor that it is quick; empty where it is."""


class Watchdog:
    """Ends the process when the loop does not turn for too long while there are requests. It is armed by the first, and
    again each time the loop comes round, until one came round without any."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds + GRACE_SECONDS
        self._requests = 0
        self._is_armed = self._had_requests = False

    def begin(self) -> None:
        self._requests += 1
        self._had_requests = True
        if not self._is_armed:
            self._is_armed = True
            self._turn()

    def end(self) -> None:
        self._requests -= 1

    def _turn(self) -> None:
        if not self._requests and not self._had_requests:
            self._is_armed = False
            faulthandler.cancel_dump_traceback_later()
            return
        self._had_requests = False
        faulthandler.dump_traceback_later(self._seconds, exit=True)
        asyncio.get_running_loop().call_later(self._seconds / 4, self._turn)


class GrpcStream:
    """A gRPC stream as a conversation sees it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def recv(self) -> bytes | None:
        message = await self._stream.recv_message()
        return None if message is None else message.content

    async def send(self, content: bytes) -> None:
        await self._stream.send_message(Raw(content))


class Service:
    """What Envoy calls."""

    def __init__(self, hook: Hook | None, exchanges: Any, watchdog: Watchdog) -> None:
        self._hook, self._exchanges, self._watchdog = hook, exchanges, watchdog
        self._count = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.exhausted = asyncio.Event()
        self.counters.exhausted = self.run_out

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        if self._hook is not None:
            return {CHECK_METHOD: Handler(self._check, Cardinality.UNARY_UNARY, Raw, Raw)}
        return {METHOD: Handler(self._process, Cardinality.STREAM_STREAM, Raw, Raw)}

    @contextlib.contextmanager
    def _request(self) -> Any:
        self._count += 1
        self.idle.clear()
        self._watchdog.begin()
        try:
            yield
        except MemoryError:
            self.run_out()
            raise
        finally:
            self._watchdog.end()
            self._count -= 1
            if not self._count:
                self.idle.set()

    async def _check(self, stream: Any) -> None:
        assert self._hook is not None
        with self._request():
            message = await stream.recv_message()
            if message is not None:
                await stream.send_message(Raw(await self._hook.decide(message.content)))

    async def _process(self, stream: Any) -> None:
        with self._request():
            await self._exchanges.serve(GrpcStream(stream))

    def take(self, said: dict[str, Any]) -> None:
        """Take what went wrong where nobody waits for it."""
        if isinstance(said.get("exception"), MemoryError):
            self.run_out()
        asyncio.get_running_loop().default_exception_handler(said)

    def run_out(self) -> None:
        """Memory has run out: take what was kept for the end, answer what has begun, and end."""
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        self.exhausted.set()

    @property
    def counters(self) -> Counters:
        return (self._hook or self._exchanges).counters


def service(package: str, version: str, deployment: dict[str, Any]) -> tuple[Service, Ready]:
    """Return what serves a plugin, and what is to be said of it. Raises what its import raises."""
    watchdog = Watchdog(deployment["timeout_seconds"])
    counters = Counters(deployment["key"], version)
    counters.restarts, counters.ending = deployment["restarts"], deployment["ending"]
    if deployment["kind"] in ("asgi", HTTP_WASM):
        exchanges = streamed.application(package, deployment, counters)
        return Service(None, exchanges, watchdog), Ready()
    if deployment["kind"] == "processor":
        processing = Processing(processor_of(package, deployment), deployment, counters)
        slow = reason_of_processor(processing.processor, processing.phases, package)
        return Service(None, processing, watchdog), Ready(processing.phases, slow)
    return Service(Hook(load(package, deployment), deployment, counters), None, watchdog), Ready()


async def serve(said: dict[str, Any]) -> int:
    """Serve a plugin until SIGTERM; return the exit code."""
    from grpclib.config import Configuration
    from grpclib.server import Server

    found, ready = service(said["package"], said["version"], said["deployment"])
    config = Configuration(http2_connection_window_size=WINDOW_BYTES * 64, http2_stream_window_size=WINDOW_BYTES)
    server = Server([found], codec=RawCodec(), config=config)
    await server.start(path=said["socket"])
    fresh = f"{said['counters']}.{os.getpid()}"
    asking = await asyncio.start_unix_server(lambda r, w: told(r, w, found.counters), fresh)
    # the version before, which may serve on a while, has it no more
    await asyncio.to_thread(os.replace, fresh, said["counters"])
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.set_exception_handler(lambda _, said: found.take(said))
    os.write(said["ready"], json.dumps(ready._asdict()).encode() + b"\n")
    os.close(said["ready"])
    waits = [asyncio.ensure_future(event.wait()) for event in (ended, found.exhausted)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(said["drain_seconds"]):
            if not found.exhausted.is_set():
                await asyncio.sleep(LINGER_SECONDS)
            await found.idle.wait()
    asking.close()
    server.close()
    return OUT_OF_MEMORY if found.exhausted.is_set() else 0


async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counters: Counters) -> None:
    """Answer one HTTP request with the counters."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(counters.http_report())
        await writer.drain()
    writer.close()


def main() -> int:
    import uvloop

    from sampan.gateway.envoy import end_with_parent

    end_with_parent()
    said = json.loads(sys.stdin.read())
    said["ready"] = os.dup(1)
    os.dup2(2, 1)  # what the plugin prints is for the log
    memory = said["deployment"]["memory_bytes"]
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory + LAST_BYTES))
    faulthandler.enable()
    code = uvloop.run(serve(said))
    sys.stderr.flush()
    os._exit(code)  # threads that a plugin left are not waited for


if __name__ == "__main__":
    sys.exit(main())
