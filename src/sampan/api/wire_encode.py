"""Answers in Kubernetes' protobuf form, for clients that accept nothing else: JSON objects in, the message of their kind out.

The field table is that of ``wire``; an answer is ``k8s\\0`` and a ``runtime.Unknown``, a watch frame four bytes of length and
a ``WatchEvent`` whose object is such an answer. What has no message (custom resources, Tables) raises ``WireError``.
Source: apimachinery pkg/runtime/serializer/protobuf; protobuf encoding.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import orjson

from sampan.api.wire import (
    BYTES,
    EITHER,
    EPOCH,
    FIXED64,
    MAGIC,
    SCHEMA,
    VARINT,
    WireError,
    message,
    message_name,
)
from sampan.schema.durations import parse_time
from sampan.schema.go_fields import GoField
from sampan.schema.objects import Object
from sampan.schema.varints import varint

Encode = Callable[[Any], bytes]
GO_DURATION = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
GO_ZERO = b"\x08\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01"
"""Go's zero time: what a null stands for."""


def from_json(value: bytes) -> bytes:
    """Return a JSON object in its protobuf form. Raises ``WireError``."""
    return encode_object(orjson.loads(value))


def encode_object(obj: Object) -> bytes:
    """Return an object as ``k8s\\0`` and the Unknown that names its kind. Raises ``WireError``."""
    api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
    try:
        raw = (
            encode_list(obj, api_version, kind)
            if "items" in obj
            else encode_message(message_name(api_version, kind), obj)
        )
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise WireError(f"{kind} cannot be encoded to a protobuf message: {error}") from error
    type_meta = text_field(1, api_version) + text_field(2, kind)
    return b"".join([MAGIC, bytes_field(1, type_meta), bytes_field(2, raw), b"\x1a\x00\x22\x00"])


def encode_list(obj: Object, api_version: str, kind: str) -> bytes:
    """Return a list: all of them have ``metadata`` as field 1 and ``items`` as field 2."""
    item = message_name(api_version, kind.removesuffix("List"))
    items = obj.get("items") or ()
    parts = [bytes_field(1, encode_message("meta/v1.ListMeta", obj.get("metadata") or {}))]
    parts += [bytes_field(2, encode_message(item, one)) for one in items]
    return b"".join(parts)


def watch_frame(kind: str, value: bytes) -> bytes:
    """Return one event of a watch, behind its length. Raises ``WireError``."""
    event = text_field(1, kind) + bytes_field(2, bytes_field(1, from_json(value)))
    return struct.pack(">I", len(event)) + event


def encode_message(name: str, obj: Object) -> bytes:
    """Return the fields of a message that an object has."""
    if not isinstance(obj, dict):
        raise TypeError(f"{name} is no object")
    known, inline = encoders(name)
    parts: list[bytes] = []
    for key, value in obj.items():
        encode = known.get(key)
        if encode is not None and value is not None:
            parts.append(encode(value))
    for encode in inline:
        parts.append(encode(obj))
    return b"".join(parts)


@lru_cache(1024)
def encoders(name: str) -> tuple[dict[str, Encode], list[Encode]]:
    """Return what encodes each field of a message by its JSON name, and what encodes those that stand in the object."""
    known: dict[str, Encode] = {}
    inline: list[Encode] = []
    for number, field in message(name).items():
        if field.inline:
            inline.append(field_encoder(number, field))
        else:
            known[field.name] = field_encoder(number, field)
    return known, inline


def field_encoder(number: int, field: GoField) -> Encode:
    """Return what encodes a value of one field, its tag included."""
    kind = VARINT if field.type in ("i", "b") else FIXED64 if field.type == "f" else BYTES
    one = SPECIAL.get(field.type) or partial(encode_message, field.type)
    head = varint(number << 3 | kind)
    if field.keyed:
        head = varint(number << 3 | BYTES)
        value_head = varint(2 << 3 | kind)
        return lambda value: b"".join(
            head + sized(text_field(1, key) + value_head + (sized(one(item)) if kind == BYTES else one(item)))
            for key, item in value.items()
        )
    if kind != BYTES:
        if field.repeated:
            return lambda value: b"".join([head + one(item) for item in value])
        return lambda value: head + one(value)
    if field.repeated:
        return lambda value: b"".join([head + sized(one(item)) for item in value])
    return lambda value: head + sized(one(value))


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def bytes_field(number: int, data: bytes) -> bytes:
    return b"".join((varint(number << 3 | BYTES), varint(len(data)), data))


def text_field(number: int, text: str) -> bytes:
    return bytes_field(number, text.encode())


def whole(value: Any) -> bytes:
    return varint(int(value))


def flag(value: Any) -> bytes:
    return b"\x01" if value else b"\x00"


def raw_bytes(value: Any) -> bytes:
    return base64.b64decode(value)


def quantity(value: Any) -> bytes:
    return text_field(1, value if isinstance(value, str) else orjson.dumps(value).decode())


def moment(value: Any) -> bytes:
    """Return a Timestamp message: seconds and nanoseconds."""
    at = parse_time(value)
    if at is None:
        return GO_ZERO
    since = at - EPOCH
    return b"\x08" + varint(since.days * 86_400 + since.seconds) + b"\x10" + varint(since.microseconds * 1000)


NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def duration(value: Any) -> bytes:
    """Return a Duration message of Go's text (``1h30m``): nanoseconds."""
    total = sum(float(number) * NANOSECONDS[unit] for number, unit in GO_DURATION.findall(value))
    return b"\x08" + varint(round(-total if value.startswith("-") else total))


def int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + text_field(3, value)
    return b"\x08\x00\x10" + varint(int(value)) + b"\x1a\x00"


def raw_json(value: Any) -> bytes:
    return bytes_field(1, orjson.dumps(value))


def either(kind: str, value: Any) -> bytes:
    """Return a schema, or what stands in its place (a boolean, schemas, strings)."""
    schema, others = EITHER[kind]
    if kind == "O":  # where there is a schema, the boolean is true
        allows = b"\x08" + flag(value is not False)
        return allows if isinstance(value, bool) else allows + bytes_field(schema, encode_message(SCHEMA, value))
    if isinstance(value, dict):
        return bytes_field(schema, encode_message(SCHEMA, value))
    if kind == "S":
        return b"".join([text_field(others, item) for item in value])
    return b"".join([bytes_field(others, encode_message(SCHEMA, item)) for item in value])


def strings(value: Any) -> bytes:
    return b"".join([text_field(1, item) for item in value])


SPECIAL: dict[str, Encode] = {
    "s": lambda value: value.encode(),
    "i": whole,
    "b": flag,
    "y": raw_bytes,
    "f": lambda value: struct.pack("<d", value),
    "q": quantity,
    "t": moment,
    "m": moment,
    "d": duration,
    "x": int_or_string,
    "r": raw_json,
    "w": strings,
    **{kind: partial(either, kind) for kind in EITHER},
}
