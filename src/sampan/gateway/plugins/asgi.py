"""ASGI middlewares inside Envoy: any class of Starlette's shape stands around an application that asks the real routes.

    client → listener (who may) → pyvoy: Middleware(app) → inner listener (retries, weights, rewrites) → backend

pyvoy's filter never hands on to the next filter, so the application inside proxies: to a listener inside this Envoy that has
the same table of routes and the rest of the filters (``xds/inner.py``). Which table it is stands in a header that the outer
listener sets. What goes wrong in the middleware ends here, as far as a request can still be answered or sent on. Source:
ASGI 3.0 (HTTP, with the trailers extension).
"""

from __future__ import annotations

import asyncio
import functools
import importlib.resources
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sampan.gateway.plugins.counters import FAILURES, Counters
from sampan.gateway.plugins.request import FORBIDDEN_BYTES, NAME, check_status
from sampan.gateway.plugins.wasm import HTTP_WASM
from sampan.gateway.xds.scopes import TABLE_HEADER

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

DAY_SECONDS = 86400.0
"""The time limits of routes hold in the inner listener; this one is only not to be in their way."""
HOP_BY_HOP = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection", b"host", b"upgrade"})
TABLE_NAME = TABLE_HEADER.encode()
NOT_SENT_ON = HOP_BY_HOP | {TABLE_NAME}
REPLAYED_BYTES = 1 << 20
"""So much of a body is kept to be sent on when the middleware fails."""


def inner_cluster(table: str, key: str) -> str:
    """Return the name of what a plugin's requests of a table go to."""
    return f"inner/{key}/{table}"


class Call:
    """One request on its way through a middleware."""

    def __init__(self, cluster: str, limit: asyncio.Timeout, receive: Any, send: Any) -> None:
        self.cluster, self._receive, self._send = cluster, receive, send
        self._limit: asyncio.Timeout | None = limit
        self.forwarded = self.started = False
        self._taken: list[dict[str, Any]] | None = []
        self._size = 0

    def in_time(self) -> None:
        """The middleware has asked the backend, or answers: from here on its time limit does not count."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None)
        self._limit = None

    async def receive(self) -> Any:
        message = await self._receive()
        if self._taken is not None and message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._taken.append(message)
            if self._size > REPLAYED_BYTES:
                self._taken = None
        return message

    @property
    def can_pass(self) -> bool:
        """Whether the request can still be sent to the backend as it came, and was not before."""
        return not self.started and not self.forwarded and self._taken is not None

    def ended(self) -> None:
        """The middleware has failed: its time limit is no more."""
        self._limit = None

    async def again(self) -> Any:
        """Receive the request from its beginning."""
        return self._taken.pop(0) if self._taken else await self._receive()

    async def send(self, message: Any) -> None:
        check(message, self.started)
        if message["type"] == "http.response.start":
            self.started = True
            self.in_time()
        await self._send(message)


def check(message: Any, started: bool) -> None:
    """Raise ``ValueError`` for what a middleware may not send."""
    kind = message.get("type") if isinstance(message, dict) else None
    if kind not in ("http.response.start", "http.response.body", "http.response.trailers"):
        raise ValueError(f"{message!r} is no message of ASGI")
    if (kind == "http.response.start") is started:
        raise ValueError(f"{kind} comes {'twice' if started else 'before http.response.start'}")
    if kind == "http.response.start":
        check_status(message.get("status"))
    for name, value in message.get("headers") or ():
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ValueError(f"header {name!r}: name and value are bytes in ASGI")
        if not is_name(name) or FORBIDDEN_BYTES.search(value):
            raise ValueError(f"header {name!r}: {value!r} cannot be sent")
    if not isinstance(message.get("body", b""), (bytes, bytearray, memoryview)):
        raise ValueError("the body is bytes in ASGI")


@functools.lru_cache(1024)  # the same few again and again
def is_name(name: bytes) -> bool:
    return NAME.fullmatch(name.decode("latin-1")) is not None


CALL: ContextVar[Call] = ContextVar("call")


def application(package: str, deployment: dict[str, Any], counters: Counters, routes: Asgi) -> Asgi:
    """Return the application that pyvoy runs for a middleware; ``routes`` is what it stands around. Raises what the making
    of the middleware raises."""

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        call = CALL.get()
        call.forwarded = True
        call.in_time()
        await routes(scope, receive, send)

    wrapped = middleware_of(package, deployment, inside)
    if not callable(wrapped):
        raise TypeError(f"{deployment['entry_point']} made {wrapped!r}, which is no ASGI application")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        table, headers, upgrades = "", [], False
        for pair in scope["headers"]:
            if pair[0] == TABLE_NAME:
                table = pair[1].decode()
            else:
                headers.append(pair)
                upgrades = upgrades or pair[0] == b"upgrade"
        if not table:  # not by a listener of ours: somebody who may open the plugin's socket
            await (counters.send(send) if scope["path"] == "/counters" else answer(send, 404, "no table\n"))
            return
        if upgrades:
            await answer(send, 501, "WebSockets cannot pass an ASGI middleware of this gateway\n")
            return
        with counters.request() as measured:
            cluster = inner_cluster(table, deployment["key"])
            try:
                async with asyncio.timeout(deployment["timeout_seconds"]) as limit:
                    call = Call(cluster, limit, receive, send)
                    CALL.set(call)
                    await wrapped({**scope, "headers": list(headers)}, call.receive, call.send)
                if not call.started:
                    raise RuntimeError("it ended without an answer")
            except FAILURES as error:
                if isinstance(error, TimeoutError) and limit.expired():
                    error = TimeoutError(f"it took longer than {deployment['timeout_seconds']:g} s")
                measured.failed(error)
                if call.started:
                    raise RuntimeError("the answer ends here") from error  # whatever it was, it ends no loop
                call.ended()
                if deployment["fails_open"] and call.can_pass:
                    await inside({**scope, "headers": headers}, call.again, call.send)
                else:
                    await answer(send, 500, f"plugin failed: {type(error).__name__}: {error}\n")
            measured.answered = not call.forwarded

    return app


def middleware_of(package: str, deployment: dict[str, Any], inside: Asgi) -> Any:
    """Return a plugin's middleware around an application. Raises what its import and its making raise."""
    from sampan.gateway.plugins.host import found_in

    settings = deployment["settings"]
    if deployment["kind"] == HTTP_WASM:
        from sampan.gateway.plugins.http_wasm import HttpWasm

        module = importlib.resources.files(package).joinpath(deployment["entry_point"]).read_bytes()
        return HttpWasm(inside, module, settings, deployment["timeout_seconds"])
    made = found_in(package, deployment["entry_point"])
    return made(settings)(inside) if deployment["factory"] else made(inside, **settings)


async def answer(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text.encode())).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode(), "more_body": False})


async def backend(scope: Any, receive: Any, send: Any) -> None:
    """The application inside: send the request to the real routes, and the answer back as it comes."""
    if scope["type"] != "http":
        return
    Headers, Request = client()
    pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"] if k.lower() not in NOT_SENT_ON]
    request = Request(scope["method"], url_of(scope), Headers(pairs), await body_of(receive))
    response = await transport_to(CALL.get().cluster).execute(request)
    got = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    got = [pair for pair in got if pair[0].lower() not in HOP_BY_HOP]
    grpc = response.headers.get("content-type", "").startswith("application/grpc")
    trailers = grpc and "grpc-status" not in response.headers  # there, the answer is headers only
    await send({"type": "http.response.start", "status": response.status, "headers": got, "trailers": trailers})
    async for chunk in response.content:
        await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    if trailers:
        last = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.trailers.items()]
        await send({"type": "http.response.trailers", "headers": last, "more_trailers": False})


@functools.cache
def client() -> tuple[Any, Any]:
    """Return the classes of what Envoy is asked: they are there in Envoy only."""
    from pyqwest import Headers, Request

    return Headers, Request


@functools.cache
def transport_to(cluster: str) -> Any:
    """Return the way to a cluster of this Envoy."""
    from pyvoy.asgi.httpclient import HTTPTransport

    return HTTPTransport(cluster, timeout=DAY_SECONDS)


def url_of(scope: Any) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "unknown")
    path = path_of(scope.get("raw_path") or b"", scope["path"])
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['scheme']}://{host}{path}{'?' + query if query else ''}"


def path_of(raw_path: bytes, path: str) -> str:
    """Return the path as it came, or as a middleware has set it."""
    came = raw_path.decode("latin-1").partition("?")[0]
    if came == path and path and "%" not in path and path.isascii():
        return path
    same = raw_path and quote(path, safe="") == quote(unquoted(raw_path), safe="")
    return came if same else quote(path)


def unquoted(raw_path: bytes) -> str:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(raw_path.partition(b"?")[0]).decode("utf-8", "replace")


async def body_of(receive: Any) -> bytes | AsyncIterator[bytes]:
    """Return the body: at once where it is short, else as it comes."""
    first = await receive()
    if first["type"] != "http.request" or not first.get("more_body"):
        return bytes(first.get("body", b""))

    async def chunks() -> AsyncIterator[bytes]:
        message = first
        while True:
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client has gone")
            if message.get("body"):
                yield bytes(message["body"])
            if not message.get("more_body"):
                return
            message = await receive()

    return chunks()
