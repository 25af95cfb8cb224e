"""The edge to ASGI: headers and body in, an answer out."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping, Sequence

from sampan.api.errors import StatusError, timed_out
from sampan.api.request import Receive, Request, Response, Scope, Send
from sampan.api.turns import Threads
from sampan.api.whole import Whole, head_of

MAX_BODY_BYTES = 3 * 1024 * 1024
"""kube-apiserver's limit of a request body."""

GZIP_BYTES = 128 * 1024
"""Answers larger than this are compressed for those who accept it (kube-apiserver's threshold)."""

WARNING_CHARACTERS, ONE_WARNING_CHARACTERS = 4096, 256
"""What kube-apiserver sends of warnings at most; clients give up on answers with too many headers."""

COMMON = {
    name.encode(): name
    for name in (
        "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent",
    )
}  # fmt: skip
"""Headers that nearly every request has."""

compressing = Threads("sampan-gzip")


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Headers(dict[str, str]):
    """Headers by lower-case name; those that are repeated are joined by a comma, and kept apart in ``repeated``."""

    __slots__ = ("impersonating", "repeated")

    def __init__(self) -> None:
        self.repeated: dict[str, list[str]] = {}
        self.impersonating = False


def headers_of(scope: Scope) -> Headers:
    """Return the headers of a request."""
    headers = Headers()
    for raw_name, raw_value in scope["headers"]:
        name, value = COMMON.get(raw_name) or raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name[:12] == "impersonate-":
            headers.impersonating = True
        if name in headers:
            headers.repeated.setdefault(name, [headers[name]]).append(value)
            headers[name] = f"{headers[name]},{value}"
        else:
            headers[name] = value
    return headers


def all_of(headers: Mapping[str, str], name: str) -> list[str]:
    """Return every value of a header, one for each time that it was sent."""
    if isinstance(headers, Headers) and name in headers.repeated:
        return headers.repeated[name]
    return [headers[name]] if name in headers else []


async def read_body(receive: Receive, length: int, seconds: float) -> bytes:
    """Return the whole body, which says to have ``length`` bytes. Raises 413 when it is too large, and 504 when it has not
    come within ``seconds``."""
    if length > MAX_BODY_BYTES:
        raise too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(seconds):
                body += await _rest(receive, MAX_BODY_BYTES - len(body))
        except TimeoutError:
            raise timed_out() from None
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    return body


async def _rest(receive: Receive, room: int) -> bytes:
    """Return what follows of a body. Raises 413."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        room -= len(parts[-1])
        if room < 0:
            raise too_large()
        if not message.get("more_body"):
            return b"".join(parts)


def too_large() -> StatusError:
    message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
    return StatusError(413, "RequestEntityTooLarge", message)


async def respond(
    scope: Scope, send: Send, response: Response, request: Request | None, direct: Whole | None = None
) -> None:
    """Send an answer, by ``direct`` where there is such a way."""
    headers: list[tuple[bytes, bytes]] = []
    for name, value in response.headers:
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1", "replace")))
    if request is not None:
        headers += request.answer_headers
        for warning in shown(request.warnings) if request.warnings else ():
            headers.append((b"warning", warning_header(warning)))
        if (
            response.length > GZIP_BYTES
            and "gzip" in request.headers.get("accept-encoding", "")
            and compresses(request)
        ):
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(compressing.executor(), zipped, response)
            headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
    method = scope.get("method")
    cached = method == "GET" and response.status == 200
    if direct is not None and not response.headers:
        head = head_of(response.status, response.content_type, cached)
        await direct.answer(head, headers, response, method != "HEAD")
        return
    first = [(b"content-type", response.content_type.encode("latin-1"))]
    if not cached:
        first.append((b"cache-control", b"no-cache, private"))
    headers = [*first, *headers, (b"content-length", b"%d" % response.length)]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for part in response.parts() if method != "HEAD" else ():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def zipped(response: Response) -> Response:
    return Response(gzip.compress(response.body, 1), response.status, response.content_type, response.headers)


def compresses(request: Request) -> bool:
    return request.api.features.enabled("APIResponseCompression")


def shown(warnings: Sequence[str]) -> list[str]:
    """Return the warnings that are sent: each once; of too many the first, and those cut short."""
    once = list(dict.fromkeys(warnings))
    if sum(map(len, once)) <= WARNING_CHARACTERS:
        return once
    room, kept = WARNING_CHARACTERS, []
    for warning in once:
        warning = warning[:ONE_WARNING_CHARACTERS]
        room -= len(warning)
        if room < 0:
            break
        kept.append(warning)
    return kept


def warning_header(text: str) -> bytes:
    """Return the value of a Warning header (RFC 7234)."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'.encode()


async def refuse_websocket(scope: Scope, send: Send, response: Response) -> None:
    """Answer a WebSocket handshake with an HTTP error, where the server can."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", response.content_type.encode()), (b"content-length", b"%d" % len(response.body))]
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": 1008})
