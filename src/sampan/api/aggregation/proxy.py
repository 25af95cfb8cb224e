"""Requests that another server answers, carried there and back as they come: bodies, watches, WebSockets.

Source: kube-aggregator pkg/apiserver/handler_proxy.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from sampan.api.aggregation.backend import HOP_BY_HOP, Backends, identity, without_identity
from sampan.api.errors import StatusError
from sampan.api.request import Receive, Request, Response, Scope, Send
from sampan.api.resources.reading import items
from sampan.api.service_routes import NoRoute
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

UNAVAILABLE = b"service unavailable\n"


class Remote:
    """One group's version that an extension server serves."""

    def __init__(self, backends: Backends, api_service: Object) -> None:
        self.backends = backends
        self.api_service = api_service
        self.resources: list[Object] = []
        """What its discovery says, as ``APIResourceList`` has it."""
        self.open_api: dict[str, str] = {}
        """Its OpenAPI v3 documents: path → the URL with its hash."""

    @property
    def spec(self) -> Object:
        return self.api_service["spec"]  # type: ignore[no-any-return]

    @property
    def available(self) -> bool:
        conditions = items(self.api_service, "status", "conditions")
        return any(one.get("type") == "Available" and one.get("status") == "True" for one in conditions)

    async def url(self, path: str, query: str = "") -> URL:
        from yarl import URL

        address = await self.backends.address(self.spec)
        return URL(f"https://{address}{quote(path, safe='/:@~+,;=!$&*()')}{'?' if query else ''}{query}", encoded=True)

    async def open(self, request: Request, data: Any) -> aiohttp.ClientResponse:
        """Send a request on; return the answer, its body unread. Raises ``StatusError`` 503."""
        import aiohttp
        from multidict import CIMultiDict

        headers = CIMultiDict([*without_identity(request.headers), *identity(request.user)])
        if data is None:
            headers.popall("content-length", None)
        query = query_of(request)
        try:
            return await self.backends.session().request(
                request.method,
                await self.url(request.attributes.path, query),
                headers=headers,
                data=data,
                allow_redirects=False,
                **self.backends.tls(self.spec),
            )
        except (aiohttp.ClientError, OSError, NoRoute, ValueError) as error:
            raise unavailable(f"error trying to reach service: {error}") from error

    async def answer(self, request: Request) -> Response:
        """Serve a request of the same process, whole."""
        if not self.available:
            raise unavailable("service unavailable")
        found = await self.open(request, request.body or None)
        async with found:
            media = found.headers.get("content-type", "application/json")
            return Response(await found.read(), found.status, media)

    async def events(self, request: Request) -> AsyncIterator[Object]:
        """Yield the events of a watch of the same process. Raises ``StatusError``: what the server said of it."""
        import aiohttp

        if not self.available:
            raise unavailable("service unavailable")
        found = await self.open(request, None)
        async with found:
            if found.status != 200:
                raise StatusError(found.status, "", (await found.text())[:1024])
            rest = b""
            try:
                async for piece in found.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        event: Object = orjson.loads(line)
                        if event["type"] == "ERROR":
                            told = event["object"]
                            raise StatusError(told.get("code", 500), told.get("reason", ""), told.get("message", ""))
                        yield event
            except aiohttp.ClientError:
                return  # it broke off: whoever watches begins again

    async def stream(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if not self.available:
            await refuse(scope, send)
        elif scope["type"] == "websocket":
            await self._carry_websocket(request, scope, receive, send)
        else:
            await self._carry(request, receive, send)

    async def _carry(self, request: Request, receive: Receive, send: Send) -> None:
        ended = asyncio.Event()
        has_body = request.method not in ("GET", "HEAD") and (
            request.headers.get("content-length") != "0" or "transfer-encoding" in request.headers
        )
        found = await self.open(request, body_of(receive, ended) if has_body else None)
        async with found:
            headers = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in found.headers.items()
                if name.lower() not in HOP_BY_HOP
            ]
            lowered = [(name.lower(), value) for name, value in headers]
            await send({"type": "http.response.start", "status": found.status, "headers": lowered})
            gone = asyncio.ensure_future(until_gone(receive, None if not has_body else ended))
            reading = asyncio.ensure_future(self._send_body(found, send))
            try:
                await asyncio.wait((gone, reading), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
            finally:
                for task in (gone, reading):
                    task.cancel()
                await asyncio.gather(gone, reading, return_exceptions=True)

    async def _send_body(self, found: aiohttp.ClientResponse, send: Send) -> None:
        import aiohttp

        with contextlib.suppress(aiohttp.ClientError):  # it broke off: so does the answer
            async for piece in found.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _carry_websocket(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        import aiohttp
        from multidict import CIMultiDict

        headers = CIMultiDict([*without_identity(request.headers), *identity(request.user)])
        query = query_of(request)
        try:
            there = await self.backends.session().ws_connect(
                await self.url(request.attributes.path, query),
                headers=headers,
                protocols=tuple(scope.get("subprotocols", ())),
                max_msg_size=0,
                **self.backends.tls(self.spec),
            )
        except aiohttp.WSServerHandshakeError as error:
            why = f"the extension server refused the WebSocket: {error.message}"
            raise StatusError(error.status, "", why) from error
        except (aiohttp.ClientError, OSError, NoRoute, ValueError) as error:
            raise unavailable(f"error trying to reach service: {error}") from error
        async with there:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": there.protocol})
            inward = asyncio.ensure_future(to_backend(receive, there))
            outward = asyncio.ensure_future(to_client(there, send))
            await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
            for task in (inward, outward):
                task.cancel()
            await asyncio.gather(inward, outward, return_exceptions=True)
        with contextlib.suppress(RuntimeError):  # the client closed first
            await send({"type": "websocket.close", "code": there.close_code or 1000})


def query_of(request: Request) -> str:
    """Return the query of a request; clients of the same process give each parameter once."""
    lists = request.query_lists
    return urlencode([(name, one) for name, value in request.query.items() for one in lists.get(name) or [value]])


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)


async def refuse(scope: Scope, send: Send) -> None:
    """Answer as kube-apiserver does for an APIService that is not available: in plain text."""
    if scope["type"] == "websocket":
        raise unavailable("service unavailable")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(UNAVAILABLE))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": UNAVAILABLE})


async def body_of(receive: Receive, ended: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            break
    ended.set()


async def until_gone(receive: Receive, body_ended: asyncio.Event | None) -> None:
    """Return when the client has gone; a body is read to its end first."""
    if body_ended is not None:
        await body_ended.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def to_backend(receive: Receive, there: aiohttp.ClientWebSocketResponse) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("bytes") is not None:
            await there.send_bytes(message["bytes"])
        else:
            await there.send_str(message.get("text") or "")


async def to_client(there: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in there:
        if isinstance(message.data, bytes):
            await send({"type": "websocket.send", "bytes": message.data})
        elif isinstance(message.data, str):
            await send({"type": "websocket.send", "text": message.data})
