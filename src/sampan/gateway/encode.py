"""Protobuf bytes from plain dicts, and back, by the table of ``messages.py``.

An ``Any`` is a dict with ``@type`` (the full name of the message). Fields that a message does not have are an error at once,
not a surprise in Envoy. Source: the protobuf encoding (varints, length-delimited fields, fixed order of our dicts).
"""

from __future__ import annotations

import struct
from typing import Any

from sampan.gateway.messages import MESSAGES

TYPE_PREFIX = "type.googleapis.com/"
VARINTS = {"uint32", "uint64", "int32", "int64", "enum", "bool"}


class EncodingError(Exception):
    """A dict that is not of its message; the text names message and field."""


def varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode(message: str, value: dict[str, Any]) -> bytes:
    """Return the bytes of a message of that full name. Raises ``EncodingError``."""
    if message == "google.protobuf.Any":
        return encode_any(value)
    fields = MESSAGES[message]
    parts = []
    for name, content in value.items():
        if content is None:
            continue
        if name not in fields:
            raise EncodingError(f"{message} has no field {name}")
        number, kind = fields[name]
        parts.append(_field(number, kind, content))
    return b"".join(parts)


def encode_any(value: dict[str, Any]) -> bytes:
    """Return the bytes of an ``Any`` with the dict's message in it."""
    rest = {name: content for name, content in value.items() if name != "@type"}
    message = value["@type"]
    return delimited(1, (TYPE_PREFIX + message).encode()) + delimited(2, encode(message, rest))


def _field(number: int, kind: str, content: Any) -> bytes:
    if kind.startswith("* "):
        return b"".join(_field(number, kind[2:], entry) for entry in content)
    if kind.startswith("map "):
        return b"".join(
            delimited(number, delimited(1, key.encode()) + _field(2, kind[4:], entry)) for key, entry in content.items()
        )
    if kind in VARINTS:
        return varint(number << 3) + varint(int(content))
    if kind == "string":
        return delimited(number, content.encode())
    if kind == "bytes":
        return delimited(number, content)
    if kind == "double":
        return varint(number << 3 | 1) + struct.pack("<d", content)
    return delimited(number, encode(kind, content))


def decode(message: str, data: bytes) -> dict[str, Any]:
    """Return a message as a dict of the fields that the table knows. Raises ``EncodingError`` for what is no protobuf."""
    by_number = {number: (name, kind) for name, (number, kind) in MESSAGES[message].items()}
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
            assert isinstance(raw, bytes)
            key, value = _entry(kind[4:], raw)
            result.setdefault(name, {})[key] = value
        else:
            result[name] = _decoded(kind, raw)
    return result


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
        return bool(raw) if kind == "bool" else raw
    if kind == "string":
        return raw.decode("utf-8", "replace")
    if kind == "bytes" or kind not in MESSAGES:
        return raw
    return decode(kind, raw)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if offset >= len(data) or shift > 63:
            raise EncodingError("a number ends too early")
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7


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
