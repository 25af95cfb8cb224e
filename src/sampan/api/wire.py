"""Request bodies in Kubernetes' protobuf form, turned into JSON at the edge: typed Go clients (kubectl create, drain,
auth can-i, controllers) send them. ``wire_encode`` is the way back, for those who read nothing else.

A body is ``k8s\\0`` and a ``runtime.Unknown`` that names the kind of the message inside. Field numbers are facts of the
wire format (``schema/go_fields.txt``).
Source: apimachinery pkg/runtime/serializer/protobuf, pkg/runtime/generated.proto; protobuf encoding.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from sampan.schema import go_fields
from sampan.schema.go_fields import GoField
from sampan.schema.objects import Object, split_api_version
from sampan.schema.varints import read_varint

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 64
SCHEMA = "apiextensions/v1.JSONSchemaProps"
EITHER = {"O": (2, 1), "A": (1, 2), "S": (1, 2)}
"""Types that hold a schema or something else: the numbers of both."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GO_ZERO_SECONDS = -62135596800
"""The seconds of Go's zero time, which stands for none."""


class WireError(ValueError):
    """The body is not a message that we know."""


Message = dict[int, GoField]


def to_json(body: bytes) -> bytes:
    """Return a protobuf body as JSON. Raises ``WireError``."""
    if not body.startswith(MAGIC):
        raise WireError("the provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        return orjson.dumps(decode_unknown(body[len(MAGIC) :]))
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError, TypeError, orjson.JSONDecodeError) as error:
        raise WireError(f"the body is not a valid protobuf message: {error}") from error


def decode_unknown(data: bytes) -> Object:
    api_version, kind, raw = "", "", b""
    for number, value in fields_of(data):
        if number == 1 and isinstance(value, bytes):
            for inner, text in fields_of(value):
                if isinstance(text, bytes):
                    if inner == 1:
                        api_version = text.decode()
                    elif inner == 2:
                        kind = text.decode()
        elif number == 2 and isinstance(value, bytes):
            raw = value
    name = message_name(api_version, kind)
    head: Object = {"kind": kind, "apiVersion": api_version}
    head.update(decode_message(name, raw, 0))
    return head


def message_name(api_version: str, kind: str) -> str:
    """Return the table's name of a kind: ``core/v1.Pod``. Raises ``WireError``."""
    group, version = split_api_version(api_version)
    name = f"{group.partition('.')[0] or 'core'}/{version}.{kind}"
    if name not in go_fields.table():
        name = f"meta/v1.{kind}"
    if name not in go_fields.table():
        raise WireError(f'no kind "{kind}" is registered for version "{api_version}"')
    return name


def has_message(api_version: str, kind: str) -> bool:
    """Whether the table knows a kind."""
    try:
        message_name(api_version, kind)
    except WireError:
        return False
    return True


@lru_cache(1024)
def message(name: str) -> Message:
    """Return the fields of a message by number."""
    return {field.number: field for field in go_fields.fields_of(name)}


def fields_of(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield ``(number, value)``: integers of varints, bytes of everything else."""
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            size, at = read_varint(data, at)
        if size is None or at + size > end:
            raise WireError("the body is not a valid protobuf message: unexpected EOF")
        yield number, data[at : at + size]
        at += size


def decode_message(name: str, data: bytes, depth: int) -> Object:
    """Return a message as the JSON object it stands for."""
    if depth > MAX_DEPTH:
        raise WireError("the body is nested too deeply")
    known = message(name)
    made: Object = {}
    for number, value in fields_of(data):
        field = known.get(number)
        if field is None:
            continue
        if field.keyed:
            key, item = map_entry(field.type, value, depth)
            made.setdefault(field.name, {})[key] = item
        elif field.repeated:
            made.setdefault(field.name, []).extend(elements(field.type, value, depth))
        elif field.inline:
            made.update(decode_value(field.type, value, depth) or {})
        else:
            item = decode_value(field.type, value, depth)
            if item is not None and not (
                field.dropped and (item == "" or item is False or (item == 0 and item is not True))
            ):
                made[field.name] = item
    return made


def elements(kind: str, value: int | bytes, depth: int) -> Iterator[Any]:
    """Yield the items of one occurrence of a repeated field; numbers may be packed."""
    if kind in "ib" and isinstance(value, bytes):
        at = 0
        while at < len(value):
            number, at = read_varint(value, at)
            yield decode_value(kind, number, depth)
    else:
        yield decode_value(kind, value, depth)


def map_entry(kind: str, value: int | bytes, depth: int) -> tuple[str, Any]:
    key, item = "", empty(kind)
    for number, inner in fields_of(expect_bytes(value)):
        if number == 1:
            key = expect_bytes(inner).decode()
        elif number == 2:
            item = decode_value(kind, inner, depth)
    return key, item


def empty(kind: str) -> Any:
    return {"s": "", "i": 0, "b": False, "y": "", "q": "0", "w": []}.get(kind, {})


def expect_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("the body is not a valid protobuf message: wrong wire type")
    return value


def decode_value(kind: str, value: int | bytes, depth: int) -> Any:
    """Return one value of a type of the table."""
    if kind in ("i", "b"):
        if isinstance(value, bytes):
            raise WireError("the body is not a valid protobuf message: wrong wire type")
        if kind == "b":
            return bool(value)
        return value - (1 << 64) if value >> 63 else value
    data = expect_bytes(value)
    if kind in EITHER:
        return either(kind, data, depth + 1)
    special = SPECIAL.get(kind)
    if special is not None:
        return special(data)
    return decode_message(kind, data, depth + 1)


def either(kind: str, data: bytes, depth: int) -> Any:
    """Return a schema, or what stands in its place (a boolean, schemas, strings)."""
    schema, others = EITHER[kind]
    allows, listed = False, []
    for number, value in fields_of(data):
        if number == schema:
            return decode_message(SCHEMA, expect_bytes(value), depth)
        if number == others and kind == "O":
            allows = bool(value)
        elif number == others:
            inner = expect_bytes(value)
            listed.append(inner.decode() if kind == "S" else decode_message(SCHEMA, inner, depth))
    return allows if kind == "O" else listed


def numbers(data: bytes) -> dict[int, Any]:
    return dict(fields_of(data))


def signed(value: Any) -> int:
    number = value if isinstance(value, int) else 0
    return number - (1 << 64) if number >> 63 else number


def moment(data: bytes) -> datetime | None:
    found = numbers(data)
    if not found or signed(found.get(1, 0)) == GO_ZERO_SECONDS:
        return None
    return EPOCH + timedelta(seconds=signed(found.get(1, 0)), microseconds=signed(found.get(2, 0)) // 1000)


def time(data: bytes) -> str | None:
    at = moment(data)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def micro_time(data: bytes) -> str | None:
    at = moment(data)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def int_or_string(data: bytes) -> int | str:
    found = numbers(data)
    if found.get(1):
        return expect_bytes(found.get(3, b"")).decode()
    return signed(found.get(2, 0))


def quantity(data: bytes) -> str:
    return expect_bytes(numbers(data).get(1, b"0")).decode() or "0"


def duration(data: bytes) -> str:
    return f"{signed(numbers(data).get(1, 0))}ns"


def raw_json(data: bytes) -> Any:
    raw = expect_bytes(numbers(data).get(1, b""))
    return orjson.loads(raw) if raw else None


def strings(data: bytes) -> list[str]:
    return [expect_bytes(value).decode() for number, value in fields_of(data) if number == 1]


def number64(data: bytes) -> float:
    found: float = struct.unpack("<d" if len(data) == 8 else "<f", data)[0]
    return found


SPECIAL: dict[str, Any] = {
    "s": lambda data: data.decode(),
    "y": lambda data: base64.b64encode(data).decode(),
    "f": number64,
    "q": quantity,
    "t": time,
    "m": micro_time,
    "d": duration,
    "x": int_or_string,
    "r": raw_json,
    "w": strings,
}
