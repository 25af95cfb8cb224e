"""CBOR bodies and answers (KEP-4222): the same objects as in JSON, in RFC 8949's form.

Kubernetes writes every string as a byte string and begins each document with the tag of self-described CBOR; it reads text
and byte strings alike, and bytes that are tagged for base64 as base64 text. ``cbor2`` is imported with the first such body.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

MEDIA_TYPE = "application/cbor"
SEQUENCE = "application/cbor-seq"
APPLY_PATCH = "application/apply-patch+cbor"
SELF_DESCRIBED = b"\xd9\xd9\xf7"
BASE64_URL, BASE64, BASE16 = 21, 22, 23
MAX_DEPTH = 200
REFUSED_TAGS = (4, 5, 25, 28, 29, 30, 35, 36, 37, 256, 258, 260, 261)
"""Nothing that JSON has; 25 and 28 say again what was there, so that a small body would become an object without bound."""


class CborError(ValueError):
    """The body is not an object in CBOR."""


def to_json(body: bytes) -> bytes:
    """Return a CBOR body as JSON. Raises ``CborError``."""
    import io

    import cbor2

    body = body.removeprefix(SELF_DESCRIBED)
    stream = io.BytesIO(body)
    try:
        decoder = cbor2.CBORDecoder(stream, semantic_decoders=dict.fromkeys(REFUSED_TAGS, refuse_tag))
        value = decoder.decode()
        if stream.tell() < len(body):
            raise CborError("unexpected trailing data")
        return orjson.dumps(plain(value, 0))
    except CborError:
        raise
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError, EOFError) as error:
        raise CborError(str(error)) from error


def refuse_tag(decoder: Any) -> Any:
    raise CborError("unrecognized tag")


def plain(value: Any, depth: int) -> Any:
    """Return a decoded value as JSON knows it. Raises ``CborError``."""
    import cbor2

    if depth > MAX_DEPTH:
        raise CborError("exceeded max depth")
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CborError("floating-point NaN and infinities are not accepted")
        return value
    if isinstance(value, Mapping):  # cbor2 freezes what stands under a tag
        return {key_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, cbor2.CBORTag) and isinstance(value.value, bytes):
        return tagged_text(value.tag, value.value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise CborError(f"{type(value).__name__} has no place in an object")


def key_text(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode()
    if isinstance(key, str):
        return key
    raise CborError("keys of maps must be strings")


def tagged_text(tag: int, data: bytes) -> str:
    if tag == BASE64:
        return base64.b64encode(data).decode()
    if tag == BASE64_URL:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    if tag == BASE16:
        return data.hex().upper()
    raise CborError(f"unrecognized tag {tag}")


def from_json(value: bytes) -> bytes:
    """Return JSON bytes as self-described CBOR."""
    return SELF_DESCRIBED + encoded(orjson.loads(value))


def watch_frame(kind: str, value: bytes) -> bytes:
    """Return one event of a watch: an item of a CBOR sequence."""
    head = SELF_DESCRIBED + b"\xa2" + encoded(b"type") + encoded(kind.encode())
    return head + encoded(b"object") + from_json(value)


def encoded(value: Any) -> bytes:
    import cbor2

    made: bytes = cbor2.dumps(byte_strings(value))
    return made


def byte_strings(value: Any) -> Any:
    """Return a JSON value with its strings as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {key.encode(): byte_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [byte_strings(item) for item in value]
    return value
