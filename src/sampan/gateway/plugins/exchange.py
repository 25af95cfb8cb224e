"""What the methods of a processor are given: the exchange, its request and answer, and the bodies as they stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sampan.gateway.plugins.contents import PARTS as CONTENTS
from sampan.gateway.plugins.conversation import PARTS, Pairs, Part, Side
from sampan.gateway.plugins.request import Answer, Headers, Request

REPLAYED_BYTES = 1 << 20
"""So much of a body is kept to be sent on when the processor fails."""


def phases_of(processor: Any, content_types: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return which parts of an exchange a processor has a method for; ``content_types`` are those that its manifest says
    (None: they are not looked at). Raises ``TypeError`` where it has none, where a method is not of its kind, and where two,
    or one and the manifest, do not go together."""
    known = (*PARTS, *CONTENTS)
    found = tuple(name for name in known if callable(getattr(processor, name, None)))
    if not found:
        raise TypeError(f"{processor!r} has none of the methods {', '.join(known)}")
    for name in found:
        method = getattr(processor, name)
        if name.endswith("_body") and not inspect.isasyncgenfunction(method):
            raise TypeError(f"{name} is to be an async generator: async def … with yield")
        if name in CONTENTS and (inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method)):
            raise TypeError(f"{name} is to return the whole body, not to yield pieces of it")
        if name in CONTENTS and (streamed := name.replace("content", "body")) in found:
            raise TypeError(f"{name} and {streamed}: only one of them may be there")
    whole = [name for name in CONTENTS if name in found]
    if whole and content_types is not None and not content_types:
        raise TypeError(f"{whole[0]}: plugin.toml is to say for which bodies, with content-types")
    if content_types and not whole:
        raise TypeError(f"content-types in plugin.toml: there is none of the methods {', '.join(CONTENTS)}")
    return found


def check_answer(found: object) -> None:
    """Raise ``ValueError`` for what a method of headers may not return."""
    if found is not None and not isinstance(found, Answer):
        raise ValueError(f"it returned {found!r}, neither nothing nor exchange.respond(...)")


class Response:
    """The backend's answer, on its way to the client."""

    def __init__(self, pairs: Pairs) -> None:
        said = dict(pairs)
        self.status = int(said.get(":status", 0))
        self.headers = Headers(text_of(pairs), kept=frozenset({"content-length", "transfer-encoding", "connection"}))


class Exchange:
    """A request and its answer. ``state`` is the plugin's own."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.state = SimpleNamespace()
        self.request: Request
        self.response: Response

    def respond(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        """Return an answer in the place of what the backend says. Raises ``ValueError``."""
        return Answer(status, body, headers or {})


class Chunks:
    """The body as the plugin gets it; what it took is kept until it gives the first out. While it waits for more, or for
    Envoy to take what it gave, its time does not run."""

    def __init__(self, side: Side, seconds: float) -> None:
        self._side, self._seconds = side, seconds
        self.limit: asyncio.Timeout | None = None
        self.taken: list[bytes] | None = []
        """None: too much was taken, or something given out."""
        self.waited = 0.0
        self.end: Part | None = None
        """What ended the body: its last part, or the trailers."""
        self._size = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self.end is None:
            with self.waiting():
                part = await self._side.get()
            if part.is_last:
                self.end = part
            if part.data:
                self._keep(part.data)
                return part.data
        raise StopAsyncIteration

    @contextmanager
    def waiting(self) -> Iterator[None]:
        clock = asyncio.get_running_loop().time
        begun = clock()
        if self.limit is not None:
            self.limit.reschedule(None)
        yield
        self.waited += clock() - begun
        if self.limit is not None:
            self.limit.reschedule(clock() + self._seconds)

    def _keep(self, data: bytes) -> None:
        if self.taken is not None:
            self._size += len(data)
            self.taken.append(data)
            if self._size > REPLAYED_BYTES:
                self.taken = None


def text_of(pairs: Pairs) -> dict[str, str]:
    """Return headers as a plugin sees them: several of a name are one, as RFC 9110 (5.3) has it."""
    found: dict[str, str] = {}
    for name, value in pairs:
        text = value.encode("latin-1").decode("utf-8", "replace")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return {name: value for name, value in found.items() if not name.startswith(":")}


def request_of(pairs: Pairs, peer: str, settings: Any) -> Request:
    said = dict(pairs)
    http = {
        "method": said.get(":method", "GET"),
        "path": said.get(":path", "/"),
        "host": said.get(":authority", ""),
        "scheme": said.get(":scheme", "http"),
        "headers": {**text_of(pairs), "host": said.get(":authority", "")},
    }
    return Request(http, peer, settings)
