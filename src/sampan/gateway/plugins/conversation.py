"""What Envoy's external processing filter and a plugin say to each other about one request.

    Envoy ──ProcessingRequest──▶ Side("request"), Side("response") ──▶ what follows a side (``processor.py``, ``streamed.py``)
          ◀──ProcessingResponse─────────────────────────────────────────┘

A side holds a few parts and no more: while the plugin does not take them, nothing is read from Envoy's stream, HTTP/2's
window fills, and Envoy stops reading from the client or the backend. Source: Envoy's external processing API v3, body mode
FULL_DUPLEX_STREAMED.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol

from sampan.gateway.plugins.modes import FULL_DUPLEX_STREAMED
from sampan.gateway.xds.encode import decode, encode

PROCESSING_REQUEST = "envoy.service.ext_proc.v3.ProcessingRequest"
PROCESSING_RESPONSE = "envoy.service.ext_proc.v3.ProcessingResponse"
METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
PEER = "source.address"
"""The attribute that says who the client is."""
PARTS = tuple(f"{side}_{part}" for side in ("request", "response") for part in ("headers", "body", "trailers"))
PARTS_HELD = 4
"""Of a side: Envoy's parts of a body are up to some ten KiB each."""
Pairs = list[tuple[str, str]]


class Stream(Protocol):
    async def recv(self) -> bytes | None: ...

    async def send(self, content: bytes) -> None: ...


class Part(NamedTuple):
    name: str
    """``headers``, ``body`` or ``trailers``."""
    pairs: Pairs
    data: bytes
    is_last: bool


class Side:
    """What comes in one direction, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: asyncio.Queue[Part] = asyncio.Queue(PARTS_HELD)
        self._first: Part | None = None

    async def put(self, part: Part) -> None:
        await self._parts.put(part)

    async def get(self) -> Part:
        part, self._first = self._first or await self._parts.get(), None
        return part

    async def peek(self) -> Part:
        """Return the next part, and leave it there."""
        self._first = self._first or await self._parts.get()
        return self._first


class Conversation:
    """One stream. ``ended`` is set when Envoy wants nothing more of it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.sides = {name: Side(name) for name in ("request", "response")}
        self.peer = ""
        self.streamed: set[str] = set()
        """The sides of which the body is sent: not of an upgrade, nor by a filter of a version without a method for it."""

    async def read(self) -> None:
        """Hand Envoy's messages to the sides, until it closes the stream. Raises ``EncodingError``."""
        async for side, part in self.parts():
            await self.sides[side].put(part)

    async def parts(self) -> AsyncIterator[tuple[str, Part]]:
        """Give Envoy's messages in the order in which they come, each with its side. Raises ``EncodingError``."""
        while (content := await self._stream.recv()) is not None:
            message = decode(PROCESSING_REQUEST, content)
            for attributes in message.get("attributes", {}).values():
                said = attributes.get("fields", {}).get(PEER, {}).get("string_value", "")
                self.peer = said.rpartition(":")[0].strip("[]") or self.peer
            for side in self.sides:
                if message.get("protocol_config", {}).get(f"{side}_body_mode") == FULL_DUPLEX_STREAMED:
                    self.streamed.add(side)
            name = next((name for name in PARTS if name in message), None)
            if name is None:
                continue
            side, _, kind = name.partition("_")
            yield side, part_of(kind, message[name])

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Read while ``work`` answers; whichever is done first ends the other: who closes the stream wants no answer.

        The caller's own task does the work and ends with it: Envoy cancels a stream that it needs no more, and to be
        cancelled when all is said costs as much as to say some of it. Raises ``EncodingError``, and what ``work`` raises."""
        task = asyncio.current_task()
        assert task is not None
        reading = asyncio.ensure_future(self.read())
        closed = False

        def close(_: asyncio.Future[None]) -> None:
            nonlocal closed
            closed = True
            task.cancel()

        reading.add_done_callback(close)
        try:
            await work()
        except asyncio.CancelledError:
            if not closed:
                raise
            task.uncancel()
            reading.result()
        finally:
            reading.remove_done_callback(close)
            reading.cancel()

    async def say(self, **response: Any) -> None:
        await self._stream.send(encode(PROCESSING_RESPONSE, response))

    async def headers(self, side: str, before: Pairs, after: Pairs, *, reroutes: bool = False) -> None:
        """Answer to a side's headers with what is to become of them."""
        common: dict[str, Any] = {"header_mutation": mutation(before, after)}
        if reroutes:
            common["clear_route_cache"] = True
        await self.say(**{f"{side}_headers": {"response": common}})

    async def body(self, side: str, data: bytes, *, is_last: bool = False) -> None:
        streamed = {"body": data, "end_of_stream": is_last}
        await self.say(**{f"{side}_body": {"response": {"body_mutation": {"streamed_response": streamed}}}})

    async def trailers(self, side: str, before: Pairs, after: Pairs) -> None:
        await self.say(**{f"{side}_trailers": {"header_mutation": mutation(before, after)}})

    async def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Answer the client at once. Where an answer has begun already, Envoy ends it instead."""
        options = [option(name, value, append=name == "set-cookie") for name, value in headers]
        said = {"status": {"code": status}, "headers": {"set_headers": options}, "body": body}
        await self.say(immediate_response=said)


def part_of(kind: str, message: dict[str, Any]) -> Part:
    found = message.get(kind, {}) if kind != "body" else {}
    pairs = [
        (entry["key"], (entry.get("raw_value") or entry.get("value", "").encode()).decode("latin-1"))
        for entry in found.get("headers", ())
    ]
    is_last = bool(message.get("end_of_stream")) or kind == "trailers"
    return Part(kind, pairs, message.get("body", b"") if kind == "body" else b"", is_last)


def option(name: str, value: str, *, append: bool) -> dict[str, Any]:
    # of this filter only the older field is read
    return {"header": {"key": name, "raw_value": value.encode("latin-1")}, "append": {"value": append}}


def mutation(before: Pairs, after: Pairs) -> dict[str, Any]:
    """Return what makes one list of headers of the other: by name, since that is how Envoy changes them."""
    old, new = by_name(before), by_name(after)
    changed = [name for name, values in new.items() if old.get(name) != values]
    options = [
        option(name, value, append=not first)
        for name in changed
        for first, value in zip([True, *[False] * len(new[name])], new[name], strict=False)
    ]
    gone = [name for name in old if name not in new and not name.startswith(":")]
    return {"set_headers": options, "remove_headers": gone}


def by_name(pairs: Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), []).append(value)
    return found


def joined(pairs: Pairs) -> Pairs:
    """Return headers with one of each name, as an answer of ours is said; cookies are apart."""
    cookies = [pair for pair in pairs if pair[0] == "set-cookie"]
    found = by_name([pair for pair in pairs if pair[0] != "set-cookie"])
    return [*((name, ", ".join(values)) for name, values in found.items()), *cookies]
