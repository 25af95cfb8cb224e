"""What a client can read and what it sends: Accept and Content-Type.

Clients list several formats (protobuf, CBOR, JSON): the first one we speak wins. ``as=Table`` and
``as=PartialObjectMetadata`` are KEP-2334's (server-side printing) parameters of a media type.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sampan.api.errors import StatusError

JSON = "application/json"
YAML = "application/yaml"
JSON_RANGES = (JSON, "application/*", "*/*")
TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


class Accepted(NamedTuple):
    """The format of the answer: ``media`` is JSON or YAML; ``transform`` one of ``TRANSFORMS`` or ""."""

    media: str
    transform: str = ""
    version: str = "v1"


PLAIN = Accepted(JSON)


@lru_cache(512)
def accepted(accept: str) -> Accepted | None:
    """Return the first format of an Accept header that we speak; None if there is none."""
    if not accept or accept == JSON:
        return PLAIN
    for clause in _by_quality(accept):
        media, parameters = _clause(clause)
        transform = parameters.get("as", "")
        version = parameters.get("v", "v1")
        if transform and (
            transform not in TRANSFORMS or parameters.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1")
        ):
            continue
        if media in JSON_RANGES:
            return Accepted(JSON, transform, version)
        if media == YAML:
            return Accepted(YAML, transform, version)
    return None


def negotiate(accept: str) -> Accepted:
    """As ``accepted``; raises 406."""
    found = accepted(accept)
    if found is None:
        message = "only the following media types are accepted: application/json, application/yaml"
        raise StatusError(406, "NotAcceptable", message)
    return found


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type header, lower-case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def unsupported_media_type(supported: tuple[str, ...]) -> StatusError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(supported)
    return StatusError(415, "UnsupportedMediaType", message)


def _by_quality(accept: str) -> list[str]:
    clauses = [clause for clause in accept.split(",") if clause.strip()]
    return sorted(clauses, key=_quality, reverse=True)


def _quality(clause: str) -> float:
    try:
        return float(_clause(clause)[1].get("q", "1"))
    except ValueError:
        return 0.0


def _clause(clause: str) -> tuple[str, dict[str, str]]:
    media, *rest = clause.split(";")
    parameters = {}
    for parameter in rest:
        name, _, value = parameter.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    return media.strip().lower(), parameters
