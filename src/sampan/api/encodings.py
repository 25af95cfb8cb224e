"""Bodies and answers in other forms than JSON, at the edge of the app: inside it everything is JSON.

A request in protobuf or CBOR goes on as JSON; an answer in JSON leaves in the form its client insists on, in a thread where
it is large. Watches get a ``Coder``: what makes a frame of an event, and the media type of their stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from sampan.api import cbor, wire
from sampan.api.errors import StatusError, bad_request
from sampan.api.negotiation import (
    CBOR,
    JSON,
    PROTOBUF,
    SPOKEN,
    YAML,
    media_type,
    not_acceptable,
    unsupported_media_type,
)
from sampan.api.request import Request, Response
from sampan.api.turns import Threads, beside
from sampan.schema.decode import Decoded, DecodeError, decode

IN_A_THREAD_BYTES = 32 * 1024
"""Larger answers are encoded beside the loop (about 2 ms)."""

encoding = Threads("sampan-encoding")


class Coder(NamedTuple):
    """How the events of a watch are written."""

    media: str
    content_type: str
    frame: Callable[[str, bytes], bytes]
    """``(type, object in JSON) -> frame``."""


def json_frame(kind: str, value: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), value)


def protobuf_frame(kind: str, value: bytes) -> bytes:
    from sampan.api.wire_encode import watch_frame

    return watch_frame(kind, value)


CODERS = {
    JSON: Coder(JSON, JSON, json_frame),
    PROTOBUF: Coder(PROTOBUF, f"{PROTOBUF};stream=watch", protobuf_frame),
    CBOR: Coder(CBOR, cbor.SEQUENCE, cbor.watch_frame),
}


def coder(media: str) -> Coder:
    """Return what writes a watch in a media type. Raises 406: YAML cannot be streamed."""
    found = CODERS.get(media)
    if found is None:
        raise not_acceptable()
    return found


def may_be_binary(accept: str) -> bool:
    """Whether an Accept header names CBOR or protobuf."""
    return "protobuf" in accept or "cbor" in accept


def without_cbor(accept: str) -> str:
    """Return an Accept header without CBOR; one that is left with nothing accepts nothing."""
    return ",".join(clause for clause in accept.split(",") if "cbor" not in clause.lower()) or "application/none"


def decoded(request: Request) -> None:
    """Turn a protobuf or CBOR body of a request into JSON, in place. Raises 400, and 415 where CBOR is not spoken."""
    given = request.headers.get("content-type", "")
    if "protobuf" not in given and "cbor" not in given:
        return
    media = media_type(given)
    if request.api.without_cbor and "cbor" in media:
        raise unsupported_media_type(tuple(one for one in SPOKEN if one != CBOR))
    try:
        if media == PROTOBUF:
            body = wire.to_json(request.body) if request.body else b""
        elif media in (CBOR, cbor.APPLY_PATCH):
            body = cbor.to_json(request.body) if request.body else b""
        else:
            return
    except (wire.WireError, cbor.CborError) as error:
        raise bad_request(str(error)) from None
    request.body = body
    request.headers = {**request.headers, "content-type": "application/apply-patch+yaml" if "apply" in media else JSON}


async def read_beside(request: Request) -> None:
    """Read a large YAML body beside the loop, which would stand still for as long as a second."""
    if len(request.body) > IN_A_THREAD_BYTES and "yaml" in request.headers.get("content-type", ""):
        request.decoded = await beside(decoded_or_not, request.body)


def decoded_or_not(body: bytes) -> Decoded | DecodeError:
    try:
        return decode(body, YAML, duplicates=True)
    except DecodeError as error:
        return error


async def encoded(response: Response, media: str) -> Response:
    """Return a JSON answer in another media type. Raises 406 where its kind has no such form."""
    if media not in (CBOR, PROTOBUF) or response.content_type != JSON or not response.length:
        return response
    if len(response.body) > IN_A_THREAD_BYTES:
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(encoding.executor(), encode, response.body, media)
    else:
        body = encode(response.body, media)
    return Response(body, response.status, media, response.headers)


def encode(value: bytes, media: str) -> bytes:
    """Return JSON bytes in CBOR or protobuf. Raises 406."""
    if media == CBOR:
        return cbor.from_json(value)
    from sampan.api.wire_encode import from_json

    try:
        return from_json(value)
    except wire.WireError as error:
        raise StatusError(406, "NotAcceptable", str(error)) from None
