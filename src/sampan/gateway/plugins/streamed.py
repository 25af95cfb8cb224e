"""ASGI middlewares outside of Envoy: one request is one conversation, both bodies stream through it with flow control.

    Envoy ──request──▶ receive ─▶ middleware ─▶ app ──request──▶ Envoy ──▶ backend
    client ◀── Envoy ◀── send ◀─ middleware ◀─ send ◀──answer── Envoy ◀───┘

What stands around the middleware (counters, time limit, open or closed) is ``asgi.application``, as inside Envoy. What the
filter cannot do is refused where the middleware does it: a body where Envoy has none, a second request to the backend.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sampan.gateway.plugins import asgi
from sampan.gateway.plugins.conversation import Conversation, Pairs, Part, Stream
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.xds.scopes import TABLE_HEADER

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

LARGEST_WHOLE_ANSWER_BYTES = 1 << 20
"""Of an answer of its own that Envoy takes in one piece."""
TRAILERS = b"trailers of a request cannot pass a middleware in a process of its own\n"
TABLE = (TABLE_HEADER.encode(), b"outside")


class Exchange:
    """One request on its way through a middleware and back."""

    def __init__(self, conversation: Conversation) -> None:
        self._talk = conversation
        self._request: Part
        self._taken = self._told = False
        """Whether all of the request's body was taken from Envoy, and its end told."""
        self._forwarded = False
        self._answer: Part | None = None
        """The backend's headers, when they are there."""
        self._ended = self._closing = False
        """Whether the backend's answer has come to its end, and whether the middleware's has."""
        self._trailers: Pairs | None = None
        self._own: tuple[int, Pairs] | None = None
        """Status and headers of an answer that is the middleware's own."""
        self._streams = False
        """Whether that goes to Envoy as it comes; else in one piece."""
        self._late = b""

    async def run(self, app: Asgi) -> None:
        self._request = await self._talk.sides["request"].get()
        self._taken = self._request.is_last
        TALK.set(self)
        try:
            await app(scope_of(self._request.pairs, self._talk.peer), self.receive, self.send)
        except Exception:  # it has been counted; an answer that has begun cannot go on
            await self._talk.answer(500, [], b"plugin failed\n")
            return
        await self._finish()

    async def receive(self) -> Any:
        """Return the next piece of the request's body, as the client sent it."""
        if self._taken:
            if self._told:
                return await asyncio.Event().wait()  # the client's going ends the conversation, and this
            self._told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        part = await self._talk.sides["request"].get()
        if part.name == "trailers":  # Envoy would send the body twice (``processor.py``)
            await self._talk.answer(501, [("content-type", "text/plain")], TRAILERS)
            await asyncio.Event().wait()  # Envoy ends the conversation, and this
        self._taken = self._told = part.is_last
        return {"type": "http.request", "body": part.data, "more_body": not part.is_last}

    async def forward(self, scope: Any, receive: Any, send: Any) -> None:
        """Ask the backend: what the middleware calls as its ``app``."""
        if self._forwarded:
            raise RuntimeError("the backend can be asked once: Envoy has one request")
        self._forwarded = True
        await self._talk.headers("request", self._request.pairs, self._wanted(scope))
        sending = asyncio.ensure_future(self._send_request(receive))
        try:
            await self._take_answer(send, sending)
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            elif not sending.cancelled():
                sending.exception()  # what it raised has been raised, or the answer was there before

    def _wanted(self, scope: Any) -> Pairs:
        after = pairs_of(scope)
        kept = {name for name, _ in after}
        return after + [pair for pair in self._request.pairs if pair[0].startswith(":") and pair[0] not in kept]

    async def _send_request(self, receive: Any) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more, data = bool(message.get("more_body")), bytes(message.get("body", b""))
            if self._request.is_last and data:
                raise ValueError("the request came without a body, and none can be given to it")
            if not self._request.is_last and (data or not more):
                await self._talk.body("request", data, is_last=not more)

    async def _take_answer(self, send: Any, sending: asyncio.Future[None]) -> None:
        getting = asyncio.ensure_future(self._talk.sides["response"].get())
        both: set[asyncio.Future[Any]] = {getting, sending}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            self._answer = part = await getting
        finally:
            getting.cancel()
        status = int(dict(part.pairs).get(":status", 200))
        self._ended = part.is_last
        headers = [(k.encode(), v.encode("latin-1")) for k, v in part.pairs if not k.startswith(":")]
        # whether there are trailers is known when they come
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": True})
        while not self._ended:
            part = await self._next()
            await send({"type": "http.response.body", "body": part.data, "more_body": not self._ended})
            if self._trailers is not None:
                trailers = [(k.encode(), v.encode("latin-1")) for k, v in self._trailers]
                await send({"type": "http.response.trailers", "headers": trailers, "more_trailers": False})
                return
        if self._answer.is_last:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> Part:
        part = await self._talk.sides["response"].get()
        self._ended = part.is_last
        if part.name == "trailers":
            self._trailers = part.pairs
        return part

    async def send(self, message: Any) -> None:
        """Give the client what the middleware sends."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body":
            await self._body(bytes(message.get("body", b"")), bool(message.get("more_body")))
        elif message["type"] == "http.response.trailers" and self._trailers is not None:
            after = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in message.get("headers", ())]
            before, self._trailers = self._trailers, None
            self._closing = False
            await self._talk.trailers("response", before, after)

    async def _start(self, message: Any) -> None:
        headers = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in message.get("headers", ())]
        if self._answer is not None:
            await self._talk.headers("response", self._answer.pairs, [(":status", str(message["status"])), *headers])
            return
        self._own = message["status"], [pair for pair in headers if pair[0] != "transfer-encoding"]
        names = [name for name, _ in headers]
        self._streams = not self._forwarded and len(set(names)) == len(names)  # of each name Envoy would send the last
        if self._streams:
            raw = [{"key": name, "raw_value": value.encode("latin-1")} for name, value in self._own[1]]
            status = {"key": ":status", "raw_value": str(message["status"]).encode()}
            said = {"headers_response": {"headers": {"headers": [status, *raw]}}}
            await self._talk.say(streamed_immediate_response=said)

    async def _body(self, data: bytes, more: bool) -> None:
        if self._own is not None:
            await self._own_body(data, more)
            return
        assert self._answer is not None
        if self._answer.is_last:
            if data:
                raise ValueError("the backend's answer has no body, and none can be given to it")
            return
        is_last = not more and self._ended and self._trailers is None
        self._closing = not more and not is_last
        if data or is_last:
            await self._talk.body("response", data, is_last=is_last)

    async def _own_body(self, data: bytes, more: bool) -> None:
        if self._streams:
            body = {"body_response": {"body": data, "end_of_stream": not more}}
            await self._talk.say(streamed_immediate_response=body)
            return
        self._late += data
        if len(self._late) > LARGEST_WHOLE_ANSWER_BYTES:
            raise ValueError("an answer after the backend was asked, or with headers that repeat, has 1 MiB at most")
        if not more and self._own is not None:
            status, headers = self._own
            await self._talk.answer(status, [pair for pair in headers if pair[0] != "content-length"], self._late)

    async def _finish(self) -> None:
        """End an answer that the middleware has ended before the backend has: Envoy's end comes first."""
        if self._answer is None or not self._closing:
            return
        while not self._ended:
            await self._next()
        if self._trailers is not None:
            await self._talk.trailers("response", self._trailers, self._trailers)
        else:
            await self._talk.body("response", b"", is_last=True)


TALK: ContextVar[Exchange] = ContextVar("exchange")


async def routes(scope: Any, receive: Any, send: Any) -> None:
    """The application inside a middleware: the rest of Envoy's way."""
    await TALK.get().forward(scope, receive, send)


class Streamed:
    """A middleware for all its requests."""

    def __init__(self, app: Asgi, counters: Counters) -> None:
        self._app, self.counters = app, counters

    async def serve(self, stream: Stream) -> None:
        conversation = Conversation(stream)
        exchange = Exchange(conversation)
        await conversation.run(lambda: exchange.run(self._app))


def application(package: str, deployment: dict[str, Any], counters: Counters) -> Streamed:
    """Return what serves a middleware's requests. Raises what the making of the middleware raises."""
    return Streamed(asgi.application(package, deployment, counters, routes), counters)


def scope_of(pairs: Pairs, peer: str) -> dict[str, Any]:
    said = dict(pairs)
    path, _, query = said.get(":path", "/").partition("?")
    plain = [(name.encode(), value.encode("latin-1")) for name, value in pairs if not name.startswith(":")]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": said.get(":method", "GET"),
        "scheme": said.get(":scheme", "http"),
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(b"host", said.get(":authority", "").encode("latin-1")), TABLE, *plain],
        "client": (peer, 0),
        "server": None,
        "extensions": {"http.response.trailers": {}},
    }


def pairs_of(scope: Any) -> Pairs:
    """Return a scope's request as Envoy's headers."""
    url = asgi.url_of(scope)
    path = "/" + url.partition("://")[2].partition("/")[2]
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    head = [(":method", scope["method"]), (":path", path), (":authority", host.decode("latin-1"))]
    rest = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in scope["headers"]]
    return [*head, *[pair for pair in rest if pair[0] not in ("host", TABLE_HEADER)]]
