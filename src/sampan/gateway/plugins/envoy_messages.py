"""A message in Envoy's memory, as a processor sees it: its headers, its body as a whole, and what becomes of them.

Runs in Envoy's process, on its thread, during an event of the stream: the memory is another's afterwards. Source: Envoy's
dynamic module ABI.
"""

from __future__ import annotations

import ctypes
from ctypes import addressof, c_bool, c_int, c_size_t, c_uint64, c_void_p, string_at
from typing import Any, NamedTuple

from sampan.gateway.plugins import envoy_memory
from sampan.gateway.plugins.conversation import Pairs
from sampan.gateway.plugins.envoy_memory import IN_ENVOY, of_envoy
from sampan.gateway.plugins.exchange_jumps import (
    BUFFERED_REQUEST,
    BUFFERED_RESPONSE,
    RECEIVED_REQUEST,
    RECEIVED_RESPONSE,
)
from sampan.gateway.plugins.jumps import REQUEST, RESPONSE
from sampan.gateway.plugins.message_jumps import READ_BODY, READ_HEADER, REPLACE_BODY, SET_HEADER

if IN_ENVOY:
    clear_route_cache = of_envoy("clear_route_cache", None, c_size_t)
    get_body_chunks = of_envoy("get_body_chunks", c_bool, c_size_t, c_int, c_void_p)
    get_buffer_limit = of_envoy("get_buffer_limit", c_uint64, c_size_t)
    set_buffer_limit = of_envoy("set_buffer_limit", None, c_size_t, c_uint64)
    is_kept_request = of_envoy("received_buffered_request_body", c_bool, c_size_t)
    is_kept_response = of_envoy("received_buffered_response_body", c_bool, c_size_t)
MACHINE: dict[str, Any] = {}
"""``message_jumps.py``'s functions, by name."""


class Kind(NamedTuple):
    """One of a stream's two messages, by the ABI's numbers."""

    headers: int
    received: int
    """The piece of the body that has come last."""
    buffered: int
    """What came before, and was kept."""


REQUESTS = Kind(REQUEST, RECEIVED_REQUEST, BUFFERED_REQUEST)
RESPONSES = Kind(RESPONSE, RECEIVED_RESPONSE, BUFFERED_RESPONSE)


def attach(library: ctypes.PyDLL) -> None:
    """Take the machine's functions out of an object."""
    for name in (READ_HEADER, SET_HEADER, READ_BODY, REPLACE_BODY):
        MACHINE[name] = envoy_memory.function_at(name, ctypes.cast(library[name], c_void_p).value)


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
    found: str | None = MACHINE[READ_HEADER](stream, kind.headers, name)
    return found


def body_of(stream: int, kind: Kind) -> tuple[bytes, tuple[int, ...]]:
    """Return all of the body that has come, and the places where it is."""
    kept, piece = content_at(stream, kind.buffered), content_at(stream, kind.received)
    if not piece:
        return kept, (kind.buffered,)
    if not kept or (is_kept_request if kind is REQUESTS else is_kept_response)(stream):
        return piece, (kind.received,)  # a filter before kept it, and both are one
    return kept + piece, (kind.buffered, kind.received)


def content_at(stream: int, place: int) -> bytes:
    found: bytes | int = MACHINE[READ_BODY](stream, place)
    if isinstance(found, bytes):
        return found
    pieces = (c_size_t * (2 * found))()
    get_body_chunks(stream, place, addressof(pieces))
    return b"".join(string_at(pieces[at], pieces[at + 1]) for at in range(0, 2 * found, 2))


def replace_body(stream: int, places: tuple[int, ...], content: bytes, *, grows: bool) -> None:
    """Let the body be another, in the first of its places. Envoy's limit is for what others send: one that ``grows`` may be
    longer."""
    if grows and len(content) > get_buffer_limit(stream):
        set_buffer_limit(stream, len(content))
    for number, place in enumerate(places):
        MACHINE[REPLACE_BODY](stream, place, b"" if number else content)


def set_headers(stream: int, kind: Kind, changes: list[tuple[bytes, bytes | None]]) -> None:
    """Set headers of a message; None: they are removed. One that is set to nothing is removed, too: Envoy has no other way
    for its modules."""
    for name, value in changes:
        MACHINE[SET_HEADER](stream, kind.headers, name, value)
