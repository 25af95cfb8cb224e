"""A message in Envoy's memory, as a processor sees it: its headers, its body as a whole, and what becomes of them.

Runs in Envoy's process, on its thread, during an event of the stream: the memory is another's afterwards. Source: Envoy's
dynamic module ABI.
"""

from __future__ import annotations

from ctypes import addressof, c_bool, c_char_p, c_int, c_size_t, c_void_p, string_at
from typing import Any, NamedTuple

from sampan.gateway.plugins import envoy_memory
from sampan.gateway.plugins.conversation import Pairs
from sampan.gateway.plugins.envoy_memory import IN_ENVOY, PLACE, of_envoy
from sampan.gateway.plugins.exchange_jumps import (
    BUFFERED_REQUEST,
    BUFFERED_RESPONSE,
    RECEIVED_REQUEST,
    RECEIVED_RESPONSE,
)
from sampan.gateway.plugins.jumps import REQUEST, RESPONSE

if IN_ENVOY:
    set_header = of_envoy("set_header", c_bool, c_size_t, c_int, c_char_p, c_size_t, c_char_p, c_size_t)
    clear_route_cache = of_envoy("clear_route_cache", None, c_size_t)
    get_body_size = of_envoy("get_body_size", c_size_t, c_size_t, c_int)
    get_body_chunks_size = of_envoy("get_body_chunks_size", c_size_t, c_size_t, c_int)
    get_body_chunks = of_envoy("get_body_chunks", c_bool, c_size_t, c_int, c_void_p)
    append_body = of_envoy("append_body", c_bool, c_size_t, c_int, c_char_p, c_size_t)
    drain_body = of_envoy("drain_body", c_bool, c_size_t, c_int, c_size_t)
    is_buffered_request = of_envoy("received_buffered_request_body", c_bool, c_size_t)
    is_buffered_response = of_envoy("received_buffered_response_body", c_bool, c_size_t)


class Kind(NamedTuple):
    """One of a stream's two messages, by the ABI's numbers."""

    headers: int
    received: int
    """The piece of the body that has come last."""
    buffered: int
    """What came before, and was kept."""


REQUESTS = Kind(REQUEST, RECEIVED_REQUEST, BUFFERED_REQUEST)
RESPONSES = Kind(RESPONSE, RECEIVED_RESPONSE, BUFFERED_RESPONSE)


def pairs_of(stream: int, kind: Kind) -> Pairs:
    """Return all headers, as ``conversation.py`` has them: a character for each byte."""
    count = envoy_memory.get_headers_size(stream, kind.headers)
    places = (c_size_t * (4 * count))()
    envoy_memory.get_headers(stream, kind.headers, places)
    return [
        (
            string_at(places[start], places[start + 1]).decode("latin-1"),
            string_at(places[start + 2], places[start + 3]).decode("latin-1"),
        )
        for start in range(0, 4 * count, 4)
    ]


def header_of(stream: int, kind: Kind, name: bytes) -> str | None:
    """Return the first header of a name; None where there is none."""
    if not envoy_memory.get_header(stream, kind.headers, name, len(name), PLACE.address, 0, None):
        return None
    return string_at(PLACE.numbers[0], PLACE.numbers[1]).decode("latin-1")


def places_of(stream: int, kind: Kind) -> tuple[int, ...]:
    """Return where the body is: what was kept and the last piece, where that is not the same (a filter before kept it)."""
    is_one = (is_buffered_request if kind is REQUESTS else is_buffered_response)(stream)
    return (kind.received,) if is_one else (kind.buffered, kind.received)


def body_of(stream: int, kind: Kind) -> bytes:
    """Return all of the body that has come."""
    pieces = []
    for place in places_of(stream, kind):
        if count := get_body_chunks_size(stream, place):
            found: Any = (c_size_t * (2 * count))()
            get_body_chunks(stream, place, addressof(found))
            pieces += [string_at(found[at], found[at + 1]) for at in range(0, 2 * count, 2)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def replace_body(stream: int, kind: Kind, content: bytes) -> None:
    """Let the body be another."""
    for place in places_of(stream, kind):
        if size := get_body_size(stream, place):
            drain_body(stream, place, size)
    if not append_body(stream, kind.received, content, len(content)):  # the trailers have come: there is no last piece
        append_body(stream, kind.buffered, content, len(content))


def set_headers(stream: int, kind: Kind, changes: list[tuple[bytes, bytes | None]]) -> None:
    """Set headers of a message; None: they are removed."""
    for name, value in changes:
        set_header(stream, kind.headers, name, len(name), value, len(value or b""))
