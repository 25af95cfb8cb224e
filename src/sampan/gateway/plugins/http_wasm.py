"""http-wasm modules, as Traefik's plugins are: an ASGI middleware that asks a WebAssembly guest.

    request ─▶ handle_request ─(next?)─▶ app ─▶ answer ─▶ handle_response ─▶ client
                     └─ no: what the guest has written is the answer

A guest (``wasm_guest.py``) runs in a thread, an instance of its own for each request at a time; one that takes longer than a
request may is interrupted by the runtime's epochs and thrown away, one that takes more memory than it may gets none. Source:
the http-wasm HTTP handler ABI (http-wasm.io); WASI preview 1 for what compilers bring along.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sampan.gateway.plugins.wasm_guest import (
    BUFFER_REQUEST,
    BUFFER_RESPONSE,
    REQUEST,
    RESPONSE,
    TICK_SECONDS,
    Body,
    Call,
    Guest,
    Pairs,
)

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

LARGEST_BODY_BYTES = 16 << 20
"""Of a body that a guest wants whole."""
GUESTS = 16
"""That run at a time; further requests wait."""


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
        self._threads = ThreadPoolExecutor(GUESTS, "guest")
        self._idle: list[Guest] = []
        self._running = threading.Condition()
        self._count = 0
        threading.Thread(target=self._tick, name="epochs", daemon=True).start()
        with self._ticking():
            self._idle.append(Guest(self))

    def _tick(self) -> None:
        """Let the guests' time run, while there are any that run."""
        while True:
            with self._running:
                self._running.wait_for(lambda: self._count > 0)
                self._running.wait(TICK_SECONDS)
            self.engine.increment_epoch()

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        with self._running:
            self._count += 1
            if self._count == 1:
                self._running.notify()
        try:
            yield
        finally:
            with self._running:
                self._count -= 1

    async def _run(self, work: Callable[[], Any]) -> Any:
        def ticked() -> Any:
            with self._ticking():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, ticked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        guest = self._idle.pop() if self._idle else await self._run(lambda: Guest(self))
        call = Call(scope)
        body = Receiving(receive, asyncio.get_running_loop())
        call.bodies = {REQUEST: Body(body.more), RESPONSE: Body(lambda: None)}
        if guest.features & BUFFER_REQUEST:
            await body.take_all()
        word, goes_on = await self._run(lambda: guest.request(call))
        if goes_on:
            await self._go_on(guest, call, word, scope, body, send)
        else:
            await answer(call, call.bodies[RESPONSE].written or b"", send)
        if len(self._idle) < GUESTS:  # one that failed is not used again: its memory may be in any state
            guest.call = None
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
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*before, *(message.get("headers") or ())]}
                await send(message)

            await self._app({**scope, **changed}, body.rest(request), pass_on)
            await self._run(lambda: guest.response(word, failed=False))
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
        await self._run(lambda: guest.response(word, failed=False))
        await answer(call, response.written, send, whole)


class Receiving:
    """The request's body, for a guest in its thread and for who comes after it."""

    def __init__(self, receive: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._receive, self._loop = receive, loop
        self._ended = False
        self._kept: list[bytes] = []
        self._whole: bytes | None = None

    async def _next(self) -> bytes | None:
        if self._ended:
            return None
        message = await self._receive()
        self._ended = not message.get("more_body")
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
        self._kept = [found] if found else []

    def more(self) -> bytes | None:
        """Return the next piece, None at the end; called in a guest's thread."""
        if self._whole is not None:
            return self._kept.pop() if self._kept else None
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()

    def rest(self, body: Body) -> Any:
        """Return what the application reads: what the guest wrote, or all, or what it left."""
        given = body.written if body.written is not None else self._whole

        async def receive() -> Any:
            nonlocal given
            if given is not None:
                message = {"type": "http.request", "body": given, "more_body": False}
                given, self._ended = None, True
                return message
            if body.unread:
                piece, body.unread = body.unread, b""
                return {"type": "http.request", "body": piece, "more_body": not self._ended}
            if self._ended:
                return await self._receive()
            piece = await self._next() or b""
            return {"type": "http.request", "body": piece, "more_body": not self._ended}

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
