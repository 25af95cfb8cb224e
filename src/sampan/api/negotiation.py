"""What a client can read and what it sends: Accept and Content-Type.

Clients list several formats (protobuf, CBOR, JSON): the one they prefer by its quality wins, and among equals JSON before
protobuf, for JSON is what is stored. ``as=Table`` and ``as=PartialObjectMetadata`` are KEP-2334's (server-side printing)
parameters of a media type. Custom resources and Tables have no protobuf form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sampan.api.errors import StatusError

JSON = "application/json"
YAML = "application/yaml"
CBOR = "application/cbor"
CBOR_SEQUENCE = "application/cbor-seq"
PROTOBUF = "application/vnd.kubernetes.protobuf"
SPOKEN = (JSON, YAML, PROTOBUF, CBOR)
JSON_RANGES = (JSON, "application/*", "*/*")
TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


class Accepted(NamedTuple):
    """The format of the answer: ``media`` is one of ``SPOKEN``; ``transform`` one of ``TRANSFORMS`` or ""."""

    media: str
    transform: str = ""
    version: str = "v1"


PLAIN = Accepted(JSON)
REMEMBERED_LENGTH = 1024
"""Longer headers are read each time: anybody can send them, and memory is not theirs to fill."""


def accepted(accept: str, protobuf: bool = True) -> Accepted | None:
    """Return the format of an Accept header that we answer in; None if there is none. ``protobuf``: whether what is
    answered has such a form by itself (its metadata always has)."""
    if not accept or accept == JSON:
        return PLAIN
    return _remembered(accept, protobuf) if len(accept) <= REMEMBERED_LENGTH else _chosen(accept, protobuf)


@lru_cache(512)
def _remembered(accept: str, protobuf: bool) -> Accepted | None:
    return _chosen(accept, protobuf)


def _chosen(accept: str, protobuf: bool) -> Accepted | None:
    for media, parameters in clauses(accept):
        transform = parameters.get("as", "")
        version = parameters.get("v", "v1")
        if transform and (
            transform not in TRANSFORMS or parameters.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1")
        ):
            continue
        if parameters.get("stream", "watch") != "watch":
            continue
        if media in JSON_RANGES:
            return Accepted(JSON, transform, version)
        if media == PROTOBUF and (transform.startswith("Partial") or (protobuf and not transform)):
            return Accepted(PROTOBUF, transform, version)
        if media in (CBOR, CBOR_SEQUENCE):
            return Accepted(CBOR, transform, version)
        if media == YAML:
            return Accepted(YAML, transform, version)
    return None


def negotiate(accept: str, protobuf: bool = True) -> Accepted:
    """As ``accepted``; raises 406."""
    found = accepted(accept, protobuf)
    if found is None:
        raise not_acceptable()
    return found


def not_acceptable() -> StatusError:
    message = f"only the following media types are accepted: {', '.join(SPOKEN)}"
    return StatusError(406, "NotAcceptable", message)


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type header, lower-case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def unsupported_media_type(supported: tuple[str, ...]) -> StatusError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(supported)
    return StatusError(415, "UnsupportedMediaType", message)


def clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return ``(media, parameters)`` of an Accept header, the preferred first."""
    found = [_clause(clause) for clause in accept.split(",") if clause.strip()]
    return sorted(found, key=_preference, reverse=True)


def _preference(clause: tuple[str, dict[str, str]]) -> tuple[float, bool]:
    media, parameters = clause
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    return quality, media != PROTOBUF


def _clause(clause: str) -> tuple[str, dict[str, str]]:
    media, *rest = clause.split(";")
    parameters = {}
    for parameter in rest:
        name, _, value = parameter.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    return media.strip().lower(), parameters
