"""What Envoy does around a processor, for tests and the foreground mode: the parts that the processor has methods for go
through it, the rest by; one exchange after the other, bodies in pieces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sampan.gateway.plugins.conversation import PEER, PROCESSING_REQUEST, PROCESSING_RESPONSE, Pairs, by_name
from sampan.gateway.plugins.modes import FULL_DUPLEX_STREAMED, mode
from sampan.gateway.plugins.processor import Processing
from sampan.gateway.xds.encode import decode, encode

if TYPE_CHECKING:
    from sampan.gateway.plugins.host import Asgi

PIECE_BYTES = 1024
"""Envoy's are larger; a processor is to see that there are several."""


class Answered(Exception):
    """The processor answered in the backend's stead."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.status = response["status"]["code"]
        self.headers = changed([], response.get("headers", {}))
        self.body: bytes = response.get("body", b"")


class Pipe:
    """A stream of which Envoy's end is here."""

    def __init__(self) -> None:
        self._in: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def recv(self) -> bytes | None:
        return await self._in.get()

    async def send(self, content: bytes) -> None:
        await self._out.put(content)

    def tell(self, **request: Any) -> None:
        self._in.put_nowait(encode(PROCESSING_REQUEST, request))

    def close(self) -> None:
        """Say that no more comes, in both directions."""
        self._in.put_nowait(None)
        self._out.put_nowait(None)

    async def hear(self, name: str) -> dict[str, Any]:
        """Return what is said of a part. Raises ``Answered``, ``ConnectionError`` at the end of the stream."""
        content = await self._out.get()
        if content is None:
            raise ConnectionError("the processor has ended the exchange")
        message = decode(PROCESSING_RESPONSE, content)
        if "immediate_response" in message:
            raise Answered(message["immediate_response"])
        found: dict[str, Any] = message[name]
        return found


class Exchanging:
    """One request and its answer on their way through a processor."""

    def __init__(self, phases: tuple[str, ...], pipe: Pipe) -> None:
        self._phases, self._pipe = phases, pipe
        self._mode = mode(phases)
        self._config = {name: value for name, value in self._mode.items() if name.endswith("_body_mode")}

    async def message(self, side: str, pairs: Pairs, body: bytes, **more: Any) -> tuple[Pairs, bytes]:
        """Return a side's headers and body as the processor sends them on. Raises ``Answered``."""
        if side == "response" and not any(name.startswith("response") for name in self._phases):
            return pairs, body
        headers = {"headers": header_map(pairs), "end_of_stream": not body}
        self._pipe.tell(**{f"{side}_headers": headers}, protocol_config=self._config, **more)
        streams = bool(body) and self._mode[f"{side}_body_mode"] == FULL_DUPLEX_STREAMED
        if streams:  # a processor may have all of it before it answers to the headers
            pieces = [body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)]
            for number, piece in enumerate(pieces, 1):
                self._pipe.tell(**{f"{side}_body": {"body": piece, "end_of_stream": number == len(pieces)}})
        said = await self._pipe.hear(f"{side}_headers")
        after = changed(pairs, said.get("response", {}).get("header_mutation", {}))
        return after, await self._body(side) if streams else body

    async def _body(self, side: str) -> bytes:
        found: bytes = b""
        while True:
            said = await self._pipe.hear(f"{side}_body")
            streamed = said["response"]["body_mutation"]["streamed_response"]
            found += streamed.get("body", b"")
            if streamed.get("end_of_stream"):
                return found


def exchanged(processing: Processing, backend: Asgi) -> Asgi:
    """Return an application that is the processor around a backend. Trailers are not played."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pipe = Pipe()
        serving = asyncio.ensure_future(processing.serve(pipe))
        serving.add_done_callback(lambda _: pipe.close())
        try:
            status, pairs, body = await through(Exchanging(processing.phases, pipe), scope, receive, backend)
        except Answered as answer:
            status, pairs, body = answer.status, answer.headers, answer.body
        finally:
            pipe.close()
            await asyncio.gather(serving, return_exceptions=True)
        kept = [pair for pair in pairs if pair[0] != "content-length" and not pair[0].startswith(":")]
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in kept]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


async def through(one: Exchanging, scope: Any, receive: Any, backend: Asgi) -> tuple[int, Pairs, bytes]:
    from sampan.gateway.plugins.rehearsal import read

    sent = await read(receive)
    attributes = {"envoy.filters.http.ext_proc": {"fields": {PEER: {"string_value": f"{scope['client'][0]}:0"}}}}
    pairs, sent = await one.message("request", pairs_of(scope), sent, attributes=attributes)
    said = dict(pairs)
    path, _, query = said[":path"].partition("?")
    plain = [(k, v) for k, v in pairs if not k.startswith(":") and k not in ("host", "content-length")]
    plain = [("host", said[":authority"]), *plain, *([("content-length", str(len(sent)))] if sent else [])]
    changes = {
        "method": said[":method"],
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in plain],
    }
    given = [{"type": "http.request", "body": sent, "more_body": False}]
    start, body = {}, b""

    async def take(message: Any) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            body += bytes(message.get("body", b""))

    async def give() -> Any:
        return given.pop() if given else await asyncio.Event().wait()

    await backend({**scope, **changes}, give, take)
    got = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in start["headers"]]
    answer, body = await one.message("response", [(":status", str(start["status"])), *got], body)
    return int(dict(answer)[":status"]), answer, body


def pairs_of(scope: Any) -> Pairs:
    query = scope["query_string"].decode("latin-1")
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
    head = [
        (":method", scope["method"]),
        (":scheme", scope["scheme"]),
        (":authority", dict(headers).get("host", "")),
        (":path", scope["raw_path"].decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")),
    ]
    return [*head, *[pair for pair in headers if pair[0] != "host"]]


def header_map(pairs: Pairs) -> dict[str, Any]:
    return {"headers": [{"key": name, "raw_value": value.encode("latin-1")} for name, value in pairs]}


def changed(pairs: Pairs, mutation: dict[str, Any]) -> Pairs:
    """Return headers as Envoy changes them: taken away first, then put over or beside."""
    found = [pair for pair in pairs if pair[0] not in mutation.get("remove_headers", ())]
    for option in mutation.get("set_headers", ()):
        name, value = option["header"]["key"], option["header"].get("raw_value", b"").decode("latin-1")
        if not option["append"].get("value") and name in by_name(found):
            found = [pair for pair in found if pair[0] != name]
        found.append((name, value))
    return found
