"""A processor called by Envoy itself, on the thread that serves the request: no process, no stream of messages.

    Envoy's worker ──exchange_jumps.py──▶ Called.event(stream, state, event) ──▶ the plugin's methods

The methods get what they get from ``processor.py``, and what goes wrong in them ends the same way. They hold Envoy's thread
while they run, so they have to be such of which ``quick.py`` says that they end soon. Runs in Envoy's process. Source:
Envoy's dynamic module ABI.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import types
from collections.abc import Mapping
from ctypes import c_size_t, c_uint8
from threading import Lock, get_ident
from time import perf_counter
from typing import Any

from sampan.gateway.plugins import envoy_messages, inline
from sampan.gateway.plugins.contents import PARTS, Contents, made_of
from sampan.gateway.plugins.counters import Counters, Measured
from sampan.gateway.plugins.envoy_memory import client_of, living
from sampan.gateway.plugins.envoy_messages import REQUESTS, RESPONSES, Kind
from sampan.gateway.plugins.exchange import Exchange, Response, check_answer, phases_of, request_of
from sampan.gateway.plugins.exchange_jumps import (
    ANSWERED,
    COLLECTS_REQUEST,
    COLLECTS_RESPONSE,
    CONTINUE,
    DESTROY,
    ENDS,
    FLAGS,
    FLAGS_AT,
    KEPT,
    KNOWS_KIND,
    OVER,
    REQUEST_BODY,
    REQUEST_HEADERS,
    REQUEST_TRAILERS,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    STOP,
    TAKES_ENCODING_OFF,
    WANTS_REQUEST,
    WANTS_RESPONSE,
)
from sampan.gateway.plugins.request import FORBIDDEN, Answer, check_status


class Ongoing(Exchange):
    """An exchange on its way through Envoy; what is asked for is read from Envoy's memory."""

    def __init__(self, settings: Any, stream: int) -> None:
        super().__init__(settings)
        self.stream = stream
        self.seconds = 0.0
        self.measured: Measured | None = None

    def __getattr__(self, name: str) -> Any:
        """Return the request or the answer, read when they are asked for first."""
        found: Any
        if name == "request":
            pairs = envoy_messages.pairs_of(living(self.stream), REQUESTS)
            found = request_of(pairs, client_of(self.stream), self.settings)
        elif name == "response":
            found = Response(envoy_messages.pairs_of(living(self.stream), RESPONSES))
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.__dict__[name] = found
        return found


Told = tuple[int, int]
"""What Envoy is told, and the stream's flags from then on."""


class Called:
    """A plugin's processor, for all its exchanges. ``event`` is what Envoy's thread calls, and never raises."""

    def __init__(self, processor: Any, deployment: Mapping[str, Any], counters: Counters) -> None:
        self._processor, self.counters = processor, counters
        self._phases = frozenset(phases_of(processor))
        self.contents = Contents(deployment)
        self._settings = deployment["settings"]
        self._opens: bool = deployment["fails_open"]
        self._reroutes: bool = deployment["reroutes"]
        self._ongoing: dict[int, Ongoing] = {}
        """State → the exchange of which Python is told more."""
        self._answers = not self._phases.isdisjoint({"response_headers", "response_content"})
        self._takes_encoding_off = "response_content" in self._phases
        self._keeps_request = uses_request(processor)
        wants_request = self._keeps_request or not self._phases.isdisjoint({"request_headers", "request_content"})
        self.wants = WANTS_REQUEST * wants_request | WANTS_RESPONSE * self._answers
        if self._takes_encoding_off and not wants_request:
            self.wants |= TAKES_ENCODING_OFF
        self._kind = b""
        """A media type whose answers are collected: Python need not be asked for their headers."""
        self._learns = Lock()
        self._event = self.event
        self.memory = (c_size_t * 5)(id(self._event), self.wants, self.contents.most)
        """The configuration, as ``exchange_jumps.py`` has it."""

    def event(self, stream: int, state: int, what: int) -> int:
        """Take an event of a stream; return what ``exchange_jumps.py`` says."""
        begun = perf_counter()
        if get_ident() not in inline.THREADS:
            inline.keep_thread()
        event, ends = what & 0xFF, what >= ENDS
        one = self._ongoing.get(state)
        if event == DESTROY:
            if one is not None:
                self._end(state, one)
            return CONTINUE
        if one is None:
            one = Ongoing(self._settings, stream)
        try:
            if event == REQUEST_HEADERS:
                found = self._request_headers(one, ends)
            elif event == RESPONSE_HEADERS:
                found = self._response_headers(one, ends)
            else:
                found = self._body(one, event, ends)
        except BaseException as error:
            try:
                found = self._failed(one, error)
            except BaseException:
                self._ongoing.pop(state, None)  # the machine answers; another stream's state may come to this place
                raise
        one.seconds += perf_counter() - begun
        if isinstance(found, Answer):
            self._end(state, one)
            answer(stream, state, found)
            return ANSWERED | STOP
        status, flags = found
        if flags & OVER:
            self._end(state, one)
        else:
            self._ongoing[state] = one
        return flags << FLAGS | status

    def _end(self, state: int, one: Ongoing) -> None:
        self._ongoing.pop(state, None)
        one.stream = 0
        self.counters.note(one.seconds, perf_counter(), one.measured)

    def _failed(self, one: Ongoing, error: BaseException) -> Told | Answer:
        """Note a failure; let the rest pass as it came, or answer."""
        one.measured = one.measured or Measured(self.counters)
        one.measured.failed(error)
        if self._opens:
            return CONTINUE, OVER
        words = FORBIDDEN.sub(" ", f"plugin failed: {type(error).__name__}: {error}")
        return Answer(500, words.encode(errors="replace").decode() + "\n", {})

    def _call(self, one: Ongoing, name: str, *arguments: Any) -> Any:
        found = getattr(self._processor, name)(one, *arguments)
        if inspect.isawaitable(found):
            raise TypeError(f"{name} is to be awaited")
        if isinstance(found, Answer):
            one.measured = one.measured or Measured(self.counters)
            one.measured.answered = True
        return found

    def _headers(self, one: Ongoing, name: str) -> Answer | None:
        found: Answer | None = self._call(one, name) if name in self._phases else None
        check_answer(found)
        return found

    def _request_headers(self, one: Ongoing, ends: bool) -> Told | Answer:
        if self._keeps_request:
            one.request  # noqa: B018  as it is now, before Envoy changes it for the backend
        found = self._headers(one, "request_headers")
        if found is not None:
            return found
        is_one = not ends and "request_content" in self._phases and "upgrade" not in one.request.headers
        if is_one and self._wants_content(one.stream, REQUESTS):
            return STOP, COLLECTS_REQUEST | KEPT
        self._change(one, REQUESTS)
        return CONTINUE, KEPT if self._answers else OVER

    def _response_headers(self, one: Ongoing, ends: bool) -> Told | Answer:
        found = self._headers(one, "response_headers")
        if found is not None:
            return found
        if "response_content" not in self._phases:
            self._change(one, RESPONSES)
        elif ends:
            self._change(one, RESPONSES, *([(b"content-length", None)] if self._hides_length(one.stream) else ()))
        elif not self._is_upgrade(one.stream) and self._wants_content(one.stream, RESPONSES):
            if "response_headers" not in self._phases and not self._kind:
                self._learn(envoy_messages.header_of(one.stream, RESPONSES, b"content-type") or "")
            return STOP, COLLECTS_RESPONSE | KEPT
        else:
            self._change(one, RESPONSES)
        return CONTINUE, OVER

    def _learn(self, kind: str) -> None:
        """Let answers of a media type be collected without Python from now on. Workers read it without asking Python, so it
        is never another."""
        if not kind or not self._learns.acquire(blocking=False):
            return
        self._kind = kind.encode("latin-1")
        self._place = ctypes.create_string_buffer(self._kind)
        self.memory[3], self.memory[4] = ctypes.addressof(self._place), len(self._kind)
        self.memory[1] |= KNOWS_KIND

    def _is_upgrade(self, stream: int) -> bool:
        return envoy_messages.header_of(stream, RESPONSES, b":status") == "101"

    def _hides_length(self, stream: int) -> bool:
        header_of = envoy_messages.header_of
        method, status = header_of(stream, REQUESTS, b":method") or "", header_of(stream, RESPONSES, b":status") or "0"
        return self.contents.hides_length(method, int(status), header_of(stream, RESPONSES, b"content-type"))

    def _wants_content(self, stream: int, kind: Kind) -> bool:
        """Whether a body is to be collected. Raises ``ValueError`` where it cannot be."""
        header_of = envoy_messages.header_of
        if not self.contents.are_wanted(header_of(stream, kind, b"content-type")):
            return False
        status = int(header_of(stream, kind, b":status") or 0)
        self.contents.check(
            header_of(stream, kind, b"content-encoding"), header_of(stream, kind, b"content-length"), status
        )
        return True

    def _body(self, one: Ongoing, event: int, ends: bool) -> Told | Answer:
        """Take a whole body, or one that has become too long."""
        kind, name = (REQUESTS, PARTS[0]) if event <= REQUEST_TRAILERS else (RESPONSES, PARTS[1])
        if not ends:
            self.contents.check_size(self.contents.most + 1)
        content, places = envoy_messages.body_of(one.stream, kind)
        self.contents.check_size(len(content))
        found = made_of(self._call(one, name, content)) if content else None
        if isinstance(found, Answer):
            return found
        if found is None:
            self._change(one, kind)
        else:
            length = None if event not in (REQUEST_BODY, RESPONSE_BODY) else b"%d" % len(found)
            self._change(one, kind, (b"content-length", length))
            envoy_messages.replace_body(one.stream, places, found, grows=len(found) > len(content))
        return CONTINUE, KEPT if kind is REQUESTS and self._answers else OVER

    def _change(self, one: Ongoing, kind: Kind, *changes: tuple[bytes, bytes | None]) -> None:
        """Set what the plugin has changed of a message. Raises ``ValueError``, before anything is set."""
        made = list(changes)
        message = one.__dict__.get("request" if kind is REQUESTS else "response")
        if message is not None:
            made += [(name.encode(), value.encode()) for name, value in message.headers.changed.items()]
            made += [(name.encode(), None) for name in sorted(message.headers.removed)]
        if message is not None and kind is RESPONSES:
            status = message.status
            if str(status) != envoy_messages.header_of(one.stream, kind, b":status"):  # an upgrade's is 101
                check_status(status)
                made.append((b":status", b"%d" % status))
        if kind is REQUESTS and self._takes_encoding_off:
            made.append((b"accept-encoding", None))
        envoy_messages.set_headers(one.stream, kind, made)
        if kind is REQUESTS and self._reroutes:
            envoy_messages.clear_route_cache(one.stream)


def answer(stream: int, state: int, found: Answer) -> None:
    """Answer in the backend's stead. The stream may end in this, so the state is told before that it is over."""
    c_uint8.from_address(state + FLAGS_AT).value = OVER
    kind = envoy_messages.header_of(stream, REQUESTS, b"content-type") or ""
    headers: inline.Encoded = [] if "content-type" in found.headers else [(b"content-type", b"text/plain")]
    headers += [(name.encode(), value.encode()) for name, value in found.headers.items()]
    inline.send_answer(stream, found.status, headers + inline.grpc_status(kind, found.status), found.body.encode())


def uses_request(processor: Any) -> bool:
    """Whether a method, or a function beside it, looks at ``exchange.request``: it is to be read when it is there."""
    module = sys.modules.get(type(processor).__module__)
    functions = [*(vars(module).values() if module is not None else ())]
    functions += [found for base in type(processor).__mro__[:-1] for found in vars(base).values()]
    return any("request" in names_in(one.__code__) for one in functions if isinstance(one, types.FunctionType))


def names_in(code: types.CodeType) -> set[str]:
    """Return the names of attributes that a function uses, those inside of it included."""
    inner = [names_in(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names).union(*inner)
