"""http-wasm modules, as Traefik's plugins are: an ASGI middleware that asks a WebAssembly guest.

    request ─▶ handle_request ─(next?)─▶ app ─▶ answer ─▶ handle_response ─▶ client
                     └─ no: what the guest has written is the answer

A guest runs in a thread, an instance of its own for each request at a time; one that takes longer than a request may is
interrupted by the runtime's epochs and thrown away, one that takes more memory than it may gets none. Its host functions
are ``Host``. Source: the http-wasm HTTP handler ABI (http-wasm.io); WASI preview 1 for what compilers bring along.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

BUFFER_REQUEST, BUFFER_RESPONSE = 1, 2
SUPPORTED = BUFFER_REQUEST | BUFFER_RESPONSE
REQUEST, RESPONSE = 0, 1
LARGEST_BODY_BYTES = 16 << 20
"""Of a body that a guest wants whole."""
MEMORY_BYTES = 64 << 20
"""Of one instance."""
GUESTS = 16
"""That run at a time; further requests wait."""
TICK_SECONDS = 0.02
WORDS = {-1: "debug", 0: "info", 1: "warn", 2: "error"}


class Pairs:
    """Headers as a guest sees and changes them: names in lower case, several values each."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.pairs = [(name.lower(), value) for name, value in pairs]

    def names(self) -> list[bytes]:
        return list(dict.fromkeys(name for name, _ in self.pairs))

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.pairs if key == name.lower()]

    def remove(self, name: bytes) -> None:
        self.pairs = [pair for pair in self.pairs if pair[0] != name.lower()]

    def add(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.lower(), value))


class Body:
    """A body as a guest reads and writes it: what it writes first takes the place of what was there."""

    def __init__(self, more: Callable[[], bytes | None]) -> None:
        self._more = more
        self._ended = False
        self.unread = b""
        self.written: bytes | None = None

    def read(self, limit: int) -> tuple[bytes, bool]:
        """Return up to ``limit`` bytes, and whether that is all."""
        while len(self.unread) < limit and not self._ended:
            piece = self._more()
            self._ended = piece is None
            self.unread += piece or b""
        found, self.unread = self.unread[:limit], self.unread[limit:]
        return found, self._ended and not self.unread

    def write(self, data: bytes) -> None:
        self.written = (self.written or b"") + data


class Call:
    """One request on its way through a guest."""

    def __init__(self, scope: Any) -> None:
        self.method: bytes = scope["method"].encode()
        query = scope["query_string"]
        self.uri: bytes = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0] + (
            b"?" + query if query else b""
        )
        self.version = f"HTTP/{scope.get('http_version', '1.1')}".encode()
        host, port = scope.get("client") or ("", 0)
        self.peer = f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()
        self.status = 200
        self.headers = {REQUEST: Pairs(list(scope["headers"])), RESPONSE: Pairs([])}
        self.bodies: dict[int, Body] = {}


class Guest:
    """An instance of the module, for one request at a time."""

    def __init__(self, middleware: HttpWasm) -> None:
        import wasmtime

        self._all = middleware
        self.features = 0
        self.call: Call | None = None
        self.store = wasmtime.Store(middleware.engine)
        self.store.set_limits(memory_size=MEMORY_BYTES)
        wasi = wasmtime.WasiConfig()
        wasi.inherit_stderr()
        self.store.set_wasi(wasi)
        self.renew()
        linker = wasmtime.Linker(middleware.engine)
        linker.define_wasi()
        for name, (function, parameters, results) in self.functions().items():
            types = [wasmtime.ValType.i32() for _ in range(parameters)]
            given = [wasmtime.ValType.i64() if one == 64 else wasmtime.ValType.i32() for one in results]
            linker.define_func("http_handler", name, wasmtime.FuncType(types, given), function)
        exports = linker.instantiate(self.store, middleware.module).exports(self.store)
        self._memory = exports["memory"]
        start = exports.get("_initialize") or exports.get("_start")
        if start is not None:
            start(self.store)
        self._handle_request, self._handle_response = exports["handle_request"], exports.get("handle_response")

    def renew(self) -> None:
        """Give it a request's time from now."""
        self.store.set_epoch_deadline(max(1, int(self._all.seconds / TICK_SECONDS)) + 1)

    def request(self, call: Call) -> tuple[int, bool]:
        """Return the guest's word for the request, and whether it goes on. Raises what the runtime raises."""
        self.call = call
        self.renew()
        said = self._handle_request(self.store)
        return said >> 32, bool(said & 0xFFFFFFFF)

    def response(self, word: int, *, failed: bool) -> None:
        self.renew()
        if self._handle_response is not None:
            self._handle_response(self.store, word, int(failed))

    # what the guest calls

    def functions(self) -> dict[str, tuple[Callable[..., Any], int, tuple[int, ...]]]:
        """Return name → function, number of parameters, sizes of its results."""
        return {
            "enable_features": (self.enable_features, 1, (32,)),
            "get_config": (lambda at, most: self.put(self._all.config, at, most), 2, (32,)),
            "log_enabled": (lambda level: int(level >= 0), 1, (32,)),
            "log": (self.log, 3, ()),
            "get_method": (lambda at, most: self.put(self.now.method, at, most), 2, (32,)),
            "set_method": (lambda at, size: setattr(self.now, "method", self.get(at, size)), 2, ()),
            "get_uri": (lambda at, most: self.put(self.now.uri, at, most), 2, (32,)),
            "set_uri": (lambda at, size: setattr(self.now, "uri", self.get(at, size) or b"/"), 2, ()),
            "get_protocol_version": (lambda at, most: self.put(self.now.version, at, most), 2, (32,)),
            "get_source_addr": (lambda at, most: self.put(self.now.peer, at, most), 2, (32,)),
            "get_header_names": (lambda kind, at, most: self.put_all(self.of(kind).names(), at, most), 3, (64,)),
            "get_header_values": (self.get_header_values, 5, (64,)),
            "set_header_value": (self.set_header_value, 5, ()),
            "add_header_value": (self.add_header_value, 5, ()),
            "remove_header": (lambda kind, at, size: self.of(kind).remove(self.get(at, size)), 3, ()),
            "read_body": (self.read_body, 3, (64,)),
            "write_body": (lambda kind, at, size: self.body(kind).write(self.get(at, size)), 3, ()),
            "get_status_code": (lambda: self.now.status, 0, (32,)),
            "set_status_code": (lambda status: setattr(self.now, "status", status), 1, ()),
        }

    @property
    def now(self) -> Call:
        if self.call is None:
            raise RuntimeError("there is no request yet")
        return self.call

    def get(self, at: int, size: int) -> bytes:
        at, size = at & 0xFFFFFFFF, size & 0xFFFFFFFF
        if at + size > self._memory.data_len(self.store):
            raise IndexError("out of the guest's memory")
        return bytes(self._memory.read(self.store, at, at + size))

    def put(self, data: bytes, at: int, most: int) -> int:
        """Write what fits as a whole; return its length."""
        if 0 < len(data) <= most & 0xFFFFFFFF:
            self._memory.write(self.store, data, at & 0xFFFFFFFF)
        return len(data)

    def put_all(self, values: list[bytes], at: int, most: int) -> int:
        data = b"".join(value + b"\0" for value in values)
        return len(values) << 32 | self.put(data, at, most)

    def of(self, kind: int) -> Pairs:
        if kind not in (REQUEST, RESPONSE):
            raise ValueError(f"headers of kind {kind}: trailers are not served")
        return self.now.headers[kind]

    def body(self, kind: int) -> Body:
        return self.now.bodies[kind]

    def enable_features(self, features: int) -> int:
        self.features |= features & SUPPORTED
        return self.features

    def log(self, level: int, at: int, size: int) -> None:
        print(f"{WORDS.get(level, level)}: {self.get(at, size).decode(errors='replace')}", file=sys.stderr)

    def get_header_values(self, kind: int, at: int, size: int, to: int, most: int) -> int:
        return self.put_all(self.of(kind).values(self.get(at, size)), to, most)

    def set_header_value(self, kind: int, at: int, size: int, value: int, value_size: int) -> None:
        headers, name = self.of(kind), self.get(at, size)
        headers.remove(name)
        headers.add(name, self.get(value, value_size))

    def add_header_value(self, kind: int, at: int, size: int, value: int, value_size: int) -> None:
        self.of(kind).add(self.get(at, size), self.get(value, value_size))

    def read_body(self, kind: int, at: int, most: int) -> int:
        data, is_all = self.body(kind).read(most & 0xFFFFFFFF)
        self.renew()  # waiting for the client is not the guest's time
        if data:
            self._memory.write(self.store, data, at & 0xFFFFFFFF)
        return int(is_all) << 32 | len(data)


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
