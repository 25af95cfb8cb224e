"""http-wasm modules, as Traefik's plugins are: an ASGI middleware that asks a WebAssembly guest.

    request ─▶ handle_request ─(next?)─▶ app ─▶ answer ─▶ handle_response ─▶ client
                     └─ no: what the guest has written is the answer

A guest (``wasm_guest.py``) is an instance of its own for each request at a time; one that takes longer than a request may is
interrupted by the runtime's epochs and thrown away, one that takes more memory than it may gets none. Guests are called in
threads, until it is shown that their calls end soon: then on the loop itself, since the way to a thread and back costs many
times what such a call does. One that takes its time all the same is interrupted there and called anew in a thread,
by another instance. Source: the http-wasm HTTP handler ABI (http-wasm.io); WASI preview 1 for what compilers bring along.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sampan.gateway.plugins.wasm_clock import Clock
from sampan.gateway.plugins.wasm_guest import (
    BUFFER_REQUEST,
    BUFFER_RESPONSE,
    REQUEST,
    RESPONSE,
    Body,
    Call,
    Guest,
    Pairs,
)

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

LARGEST_BODY_BYTES = 16 << 20
"""Of a body that a guest wants whole."""
THREADS = 16
"""In which guests run at a time; further requests wait."""
IDLE, IDLE_BYTES = 64, 192 << 20
"""Guests that are kept for the next requests, and the memory that they have together."""
PROVEN, CERTAIN, DOUBTED = 32, 64, -1024
"""Of what is counted for calls that end soon: where the loop does them, the most and the least of it."""
SOON_SECONDS = 0.002
"""That a call takes which has ended soon. One that takes longer counts against as many as would fit into it."""
WAITS_IN_THREADS = 8
"""In a thread a call waits for others: of its time by the clock so much less is its own, or all of its CPU."""
LOOP_PART = 0.25
"""Of a request's time, that a call may have on the loop: the process ends whose loop stands still for all of it."""


class HttpWasm:
    """The middleware. Raises what the runtime raises where the module cannot be instantiated."""

    def __init__(self, app: Asgi, module: bytes, settings: Any, seconds: float) -> None:
        import wasmtime

        self._app = app
        self.config, self.seconds = json.dumps(settings).encode(), seconds
        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        self.module = wasmtime.Module(self.engine, module)
        self._threads = ThreadPoolExecutor(THREADS, "guest")
        self._idle: list[Guest] = []
        self._clock = Clock(self.engine)
        self._soon = 0
        """How far it is shown that calls end soon."""
        self._waits = False
        """Whether guests read bodies of which they are not told the length."""
        self._idle_bytes = 0
        with self._clock.running():
            self._keep(Guest(self))

    @contextmanager
    def _timed(self, waits: int) -> Iterator[None]:
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            with self._clock.running():
                yield
        finally:
            own = max(time.thread_time() - cpu, (time.perf_counter() - wall) / waits)
            too_long = int(own / SOON_SECONDS)
            self._soon = max(self._soon - too_long, DOUBTED) if too_long else min(self._soon + 1, CERTAIN)

    async def _run(self, work: Callable[[float], Any]) -> Any:
        """Call a guest in a thread, with the time that it may take."""

        def timed() -> Any:
            with self._timed(WAITS_IN_THREADS):
                return work(self.seconds)

        return await asyncio.get_running_loop().run_in_executor(self._threads, timed)

    def _run_here(self, work: Callable[[float], Any]) -> Any:
        """Call a guest on the loop."""
        with self._timed(1):
            return work(self.seconds * LOOP_PART)

    async def _guest(self) -> Guest:
        if self._idle:
            found = self._idle.pop()
            self._idle_bytes -= found.memory_bytes
            return found

        def made() -> Guest:
            with self._clock.running():
                return Guest(self)

        return await asyncio.get_running_loop().run_in_executor(self._threads, made)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        guest = await self._guest()
        body = Receiving(receive, asyncio.get_running_loop())
        if guest.features & BUFFER_REQUEST:
            await body.take_all()
        call, found = body.call(scope), None
        if self._soon >= PROVEN and (body.has_ended or not (self._waits or told_of_body(scope))):
            found = self._asked_here(guest, call, body)
            if found is None:
                guest, call = await self._guest(), body.call(scope)
        word, goes_on = found or await self._run(lambda seconds: guest.request(call, seconds))
        if goes_on:
            await self._go_on(guest, call, word, scope, body, send)
        else:
            self._keep(guest)
            await answer(call, call.bodies[RESPONSE].written or b"", send)

    def _asked_here(self, guest: Guest, call: Call, body: Receiving) -> tuple[int, bool] | None:
        """Return what the guest says, called on the loop; None where it takes its time, or has to wait for the client: all
        that it has changed is its own memory, and ``call``."""
        import wasmtime

        body.may_wait = False
        try:
            found: tuple[int, bool] = self._run_here(lambda seconds: guest.request(call, seconds))
        except Waits:
            self._waits = True
            return None
        except wasmtime.Trap as error:
            if error.trap_code == wasmtime.TrapCode.INTERRUPT:
                return None
            raise
        finally:
            body.may_wait = True
        return found

    async def _answered(self, guest: Guest, word: int, body: Receiving) -> None:
        """Let the guest see the answer, and keep it for another request."""
        if self._soon >= PROVEN and body.has_ended:
            self._run_here(lambda seconds: guest.response(word, seconds, failed=False))
        else:
            await self._run(lambda seconds: guest.response(word, seconds, failed=False))
        self._keep(guest)

    def _keep(self, guest: Guest) -> None:
        """Keep a guest. One that failed is not used again: its memory may be in any state."""
        guest.call, guest.memory_bytes = None, guest.measured_bytes()
        if len(self._idle) < IDLE and self._idle_bytes + guest.memory_bytes <= IDLE_BYTES:
            self._idle_bytes += guest.memory_bytes
            self._idle.append(guest)

    async def _go_on(self, guest: Guest, call: Call, word: int, scope: Any, body: Receiving, send: Any) -> None:
        path, _, query = call.uri.partition(b"?")
        headers = call.headers[REQUEST].pairs
        request = call.bodies[REQUEST]
        if request.written is not None:
            headers = [pair for pair in headers if pair[0] not in (b"content-length", b"transfer-encoding")]
            headers.append((b"content-length", str(len(request.written)).encode()))
        changed = {
            "method": call.method.decode(),
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        before = call.headers[RESPONSE].pairs
        """What the guest has said of the answer already: it comes first."""
        if not guest.features & BUFFER_RESPONSE:

            async def pass_on(message: Any) -> None:
                failure = None
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*before, *(message.get("headers") or ())]}
                elif message["type"] == "http.response.body" and not message.get("more_body"):
                    try:  # before its end is sent: who has all of the answer may end the exchange, and this with it
                        await self._answered(guest, word, body)
                    except Exception as error:
                        failure = error
                await send(message)
                if failure is not None:
                    raise failure

            await self._app({**scope, **changed}, body.rest(request), pass_on)
            return
        whole = b""

        async def keep(message: Any) -> None:
            nonlocal whole
            if message["type"] == "http.response.start":
                call.status = message["status"]
                call.headers[RESPONSE] = Pairs([*before, *(message.get("headers") or ())])
            elif message["type"] == "http.response.body":
                whole += bytes(message.get("body", b""))
                if len(whole) > LARGEST_BODY_BYTES:
                    raise ValueError(
                        f"the answer has more than {LARGEST_BODY_BYTES >> 20} MiB, which the module wants whole"
                    )

        await self._app({**scope, **changed}, body.rest(request), keep)
        response = call.bodies[RESPONSE] = Body(lambda: None)
        response.unread = whole
        await self._answered(guest, word, body)
        await answer(call, response.written, send, whole)


class Waits(Exception):
    """A guest that is called on the loop reads what has not come."""


def told_of_body(scope: Any) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


class Receiving:
    """The request's body, for a guest in its thread and for who comes after it."""

    def __init__(self, receive: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._receive, self._loop = receive, loop
        self.has_ended = False
        self.may_wait = True
        self._kept: list[bytes] = []
        self._whole: bytes | None = None

    def call(self, scope: Any) -> Call:
        """Return the request as a guest sees it first."""
        found = Call(scope)
        if self._whole is not None:
            self._kept = [self._whole] if self._whole else []
        found.bodies = {REQUEST: Body(self.more), RESPONSE: Body(lambda: None)}
        return found

    async def _next(self) -> bytes | None:
        if self.has_ended:
            return None
        message = await self._receive()
        self.has_ended = not message.get("more_body")
        return bytes(message.get("body", b""))

    async def take_all(self) -> None:
        """Read it whole, for a guest that wants to read it and to pass it on."""
        found = b""
        while (piece := await self._next()) is not None:
            found += piece
            if len(found) > LARGEST_BODY_BYTES:
                raise ValueError(
                    f"the request has more than {LARGEST_BODY_BYTES >> 20} MiB, which the module wants whole"
                )
        self._whole = found

    def more(self) -> bytes | None:
        """Return the next piece, None at the end; called by a guest. Raises ``Waits`` where it ``may_wait`` not."""
        if self._whole is not None:
            return self._kept.pop() if self._kept else None
        if self.has_ended:
            return None
        if not self.may_wait:
            raise Waits
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()

    def rest(self, body: Body) -> Any:
        """Return what the application reads: what the guest wrote, or all, or what it left."""
        given = body.written if body.written is not None else self._whole

        async def receive() -> Any:
            nonlocal given
            if given is not None:
                message = {"type": "http.request", "body": given, "more_body": False}
                given, self.has_ended = None, True
                return message
            if body.unread:
                piece, body.unread = body.unread, b""
                return {"type": "http.request", "body": piece, "more_body": not self.has_ended}
            if self.has_ended:
                return await self._receive()
            piece = await self._next() or b""
            return {"type": "http.request", "body": piece, "more_body": not self.has_ended}

        return receive


async def answer(call: Call, body: bytes | None, send: Any, was: bytes = b"") -> None:
    """Send an answer whose body the guest has written; None: it is as it was."""
    headers = call.headers[RESPONSE].pairs
    if body is not None:
        headers = [pair for pair in headers if pair[0] not in (b"content-length", b"transfer-encoding")]
        headers.append((b"content-length", str(len(body)).encode()))
    else:
        body = was
    await send({"type": "http.response.start", "status": call.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
