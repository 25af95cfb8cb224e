"""The options of a write as query parameters give them, checked with Kubernetes' messages.

``dryRun``, ``fieldValidation``, ``fieldManager`` and ``force`` of create, update and patch; the media types of bodies;
the body decoded and judged against the type of the resource.
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request, invalid
from sampan.api.negotiation import JSON, SPOKEN, YAML, media_type, unsupported_media_type
from sampan.api.request import Request
from sampan.schema.causes import invalid as bad_value
from sampan.schema.decode import DecodeError, decode, summary
from sampan.schema.objects import Object, split_api_version
from sampan.schema.types import cannot_handle, strict_error

FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
FIELD_MANAGER_LENGTH = 128


def check_write_options(request: Request, kind: str) -> None:
    """Refuse unknown values of dryRun, fieldValidation and fieldManager. ``kind`` names the options in the message."""
    query = request.query
    if not query:
        return
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise _invalid_option(
            kind, "dryRun", "NotSupported", f'Unsupported value: ["{dry_run}"]: supported values: "All"'
        )
    validation = query.get("fieldValidation", "")
    if validation and validation not in FIELD_VALIDATION:
        values = ", ".join(f'"{value}"' for value in FIELD_VALIDATION)
        message = f'Unsupported value: "{validation}": supported values: {values}'
        raise _invalid_option(kind, "fieldValidation", "NotSupported", message)
    manager = query.get("fieldManager", "")
    if len(manager) > FIELD_MANAGER_LENGTH:
        message = f"Too long: may not be more than {FIELD_MANAGER_LENGTH} bytes"
        raise _invalid_option(kind, "fieldManager", "TooLong", message)
    for position, character in enumerate(manager):
        if not character.isprintable():
            message = (
                f"Invalid value: {dumps(manager)}: invalid character U+{ord(character):04X} (at position {position})"
            )
            raise _invalid_option(kind, "fieldManager", "Invalid", message)


def dumps(text: str) -> str:
    return orjson.dumps(text).decode()


def _invalid_option(kind: str, field: str, reason: str, message: str) -> StatusError:
    details = {
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [{"reason": f"FieldValue{reason}", "message": message, "field": field}],
    }
    return StatusError(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {field}: {message}', details=details)


def field_manager(request: Request) -> str:
    """Return the field manager: ``fieldManager``, or the product name of the User-Agent."""
    manager = request.query.get("fieldManager")
    if manager:
        return manager
    product = request.headers.get("user-agent", "").partition("/")[0]
    return "".join(character for character in product if character.isprintable())[:FIELD_MANAGER_LENGTH] or "unknown"


def decode_body(request: Request, media: str) -> tuple[Any, list[str]]:
    """Return the decoded body and its duplicate fields, looked for unless validation is ``Ignore``. Raises 400."""
    strict = request.query.get("fieldValidation") != "Ignore"
    try:
        known = request.decoded if "yaml" in media else None
        decoded = known or decode(request.body, media, duplicates=strict)
    except DecodeError as error:
        decoded = error
    request.decoded = None  # the object is its reader's to change
    if isinstance(decoded, DecodeError):
        raise bad_request(decoded.message)
    return decoded.object, decoded.duplicates if strict else []


def decode_object(request: Request, served: Served) -> Object:
    """Return the object of a create or update body: of the right kind, pruned and well typed. Raises 400 and 415."""
    media = media_type(request.headers.get("content-type", "")) or JSON
    if media not in (JSON, YAML):
        raise unsupported_media_type(SPOKEN)
    try:
        obj, duplicates = decode_body(request, media)
    except StatusError as error:
        raise unrecognized(request, served, error.message) from None
    if not isinstance(obj, dict) and obj is not None:
        words = "json: cannot unmarshal into an object"
        raise unrecognized(request, served, f"couldn't get version/kind; json parse error: {words}")
    if obj is None or (not obj.get("kind") and served.resource.custom):
        body = request.body.decode("utf-8", "replace")
        raise unrecognized(request, served, f"Object 'Kind' is missing in '{body}'")
    check_kind(served, obj)
    check_type(request, served, obj, duplicates)
    return obj


def unrecognized(request: Request, served: Served, why: str) -> StatusError:
    kind = served.resource.kind
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({summary(request.body)})")


def check_kind(served: Served, obj: Object) -> None:
    """Fill in or compare apiVersion and kind."""
    resource = served.resource
    kind, api_version = obj.get("kind"), obj.get("apiVersion")
    if not kind:
        obj["kind"] = kind = resource.kind
    if not api_version:
        obj["apiVersion"] = api_version = resource.api_version
    if not isinstance(kind, str) or not isinstance(api_version, str):
        raise bad_request("couldn't get version/kind; json parse error: apiVersion and kind must be strings")
    if kind != resource.kind and resource.custom:
        metadata = obj.get("metadata")
        name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        raise invalid(resource, name, [bad_value("kind", kind, f"must be {resource.kind}")])
    if kind != resource.kind:
        version = split_api_version(api_version)[1]
        raise bad_request(cannot_handle_as(kind, version, resource.kind))
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version"
            f" ({resource.api_version})"
        )


def cannot_handle_as(kind: str, version: str, wanted: str) -> str:
    return f'{kind} in version "{version}" cannot be handled as a {wanted}: no kind match'


def check_type(request: Request, served: Served, obj: Object, duplicates: list[str]) -> bool:
    """Check an object against its type, in place: unknown fields are pruned, and refused or warned of as asked. Return
    whether there were any. Raises 400."""
    resource = served.resource
    unknown = list(duplicates)
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise bad_request(cannot_handle(resource.kind, resource.version, "metadata must be an object"))
    if served.type is not None:
        checked = served.type.check(obj)
        if checked.error:
            raise bad_request(cannot_handle(resource.kind, resource.version, checked.error))
        unknown += checked.unknown
    if unknown:
        validation = request.query.get("fieldValidation") or "Warn"
        if validation == "Strict":
            raise bad_request(cannot_handle(resource.kind, resource.version, strict_error(unknown)))
        if validation == "Warn":
            request.warnings += unknown
    return len(unknown) > len(duplicates)
