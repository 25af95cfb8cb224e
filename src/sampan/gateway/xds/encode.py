"""Protobuf bytes from plain dicts, and back, by the table of ``messages.py``.

An ``Any`` is a dict with ``@type`` (the full name of the message). Where a message may stand, its bytes may stand too: what
was encoded once is not encoded again. Fields that a message does not have are an error at once, not a surprise in Envoy.
Source: the protobuf encoding (varints, length-delimited fields; repeated fields of joined bytes add up).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from sampan.gateway.xds.messages import MESSAGES
from sampan.schema.varints import read_varint, varint

TYPE_PREFIX = "type.googleapis.com/"
VARINTS = {"uint32", "uint64", "int32", "int64", "enum", "bool"}
Encoder = Callable[[Any], bytes]


class EncodingError(Exception):
    """A dict that is not of its message; the text names message and field."""


def delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode(message: str, value: dict[str, Any]) -> bytes:
    """Return the bytes of a message of that full name. Raises ``EncodingError``."""
    if message == "google.protobuf.Any":
        return encode_any(value)
    encoders = _encoders(message)
    parts = []
    for name, content in value.items():
        if content is None:
            continue
        encoder = encoders.get(name)
        if encoder is None:
            raise EncodingError(f"{message} has no field {name}")
        try:
            parts.append(encoder(content))
        except (TypeError, AttributeError) as error:
            raise EncodingError(f"{message}.{name}: {error}: {content!r}") from error
    return b"".join(parts)


def encode_any(value: dict[str, Any]) -> bytes:
    """Return the bytes of an ``Any`` with the dict's message in it."""
    rest = {name: content for name, content in value.items() if name != "@type"}
    message = value["@type"]
    return any_of(message, encode(message, rest))


def any_of(message: str, content: bytes) -> bytes:
    """Return the bytes of an ``Any`` around the bytes of a message of that full name."""
    return delimited(1, (TYPE_PREFIX + message).encode()) + delimited(2, content)


@cache
def _encoders(message: str) -> dict[str, Encoder]:
    if message not in MESSAGES:
        raise EncodingError(f"the message {message} is not known")
    return {name: _encoder(number, kind) for name, (number, kind) in MESSAGES[message].items()}


def _encoder(number: int, kind: str) -> Encoder:
    """Return the function from a field's content to its bytes, the tag before them."""
    if kind.startswith("* "):
        one = _encoder(number, kind[2:])
        return lambda content: b"".join([one(entry) for entry in content])
    if kind.startswith("map "):
        value = _encoder(2, kind[4:])
        return lambda content: b"".join(
            [delimited(number, delimited(1, key.encode()) + value(entry)) for key, entry in content.items()]
        )
    if kind in VARINTS:
        head = varint(number << 3)
        return lambda content: head + varint(int(content))
    if kind == "double":
        head = varint(number << 3 | 1)
        return lambda content: head + struct.pack("<d", content)
    head = varint(number << 3 | 2)
    if kind == "string":

        def text(content: str) -> bytes:
            raw = content.encode()
            return head + varint(len(raw)) + raw

        return text

    def message(content: Any) -> bytes:
        raw = content if isinstance(content, bytes) else encode(kind, content)
        return head + varint(len(raw)) + raw

    return message


def decode(message: str, data: bytes) -> dict[str, Any]:
    """Return a message as a dict of the fields that the table knows. Raises ``EncodingError`` for what is no protobuf."""
    by_number = _by_number(message)
    result: dict[str, Any] = {}
    offset = 0
    while offset < len(data):
        tag, offset = _read_varint(data, offset)
        raw, offset = _read_value(data, offset, tag & 7)
        known = by_number.get(tag >> 3)
        if known is None:
            continue
        name, kind = known
        if kind.startswith("* "):
            result.setdefault(name, []).append(_decoded(kind[2:], raw))
        elif kind.startswith("map "):
            if isinstance(raw, int):
                raise EncodingError(f"{message}.{name} is a map, and a number came")
            key, value = _entry(kind[4:], raw)
            result.setdefault(name, {})[key] = value
        else:
            result[name] = _decoded(kind, raw)
    return result


@cache
def _by_number(message: str) -> dict[int, tuple[str, str]]:
    return {number: (name, kind) for name, (number, kind) in MESSAGES[message].items()}


def _entry(kind: str, raw: bytes) -> tuple[str, Any]:
    key, value, offset = "", _decoded(kind, b"") if kind not in VARINTS else 0, 0
    while offset < len(raw):
        tag, offset = _read_varint(raw, offset)
        part, offset = _read_value(raw, offset, tag & 7)
        if tag >> 3 == 1 and isinstance(part, bytes):
            key = part.decode()
        elif tag >> 3 == 2:
            value = _decoded(kind, part)
    return key, value


def _decoded(kind: str, raw: int | bytes) -> Any:
    if isinstance(raw, int):
        if kind not in VARINTS:
            raise EncodingError(f"a number came for a {kind}")
        return bool(raw) if kind == "bool" else raw
    if kind in VARINTS:
        raise EncodingError(f"bytes came for a {kind}")
    if kind == "string":
        return raw.decode("utf-8", "replace")
    if kind == "double":
        return struct.unpack("<d", raw)[0]
    if kind == "bytes" or kind not in MESSAGES:
        return raw
    return decode(kind, raw)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    try:
        return read_varint(data, offset)
    except (IndexError, OverflowError):
        raise EncodingError("a number ends too early") from None


def _read_value(data: bytes, offset: int, wire: int) -> tuple[int | bytes, int]:
    if wire == 0:
        return _read_varint(data, offset)
    if wire == 2:
        size, offset = _read_varint(data, offset)
    elif wire in (1, 5):
        size = 8 if wire == 1 else 4
    else:
        raise EncodingError(f"wire type {wire} is not known")
    if offset + size > len(data):
        raise EncodingError("a field ends too early")
    return data[offset : offset + size], offset + size
