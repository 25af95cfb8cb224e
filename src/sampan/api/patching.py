"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

A patch is applied to what is stored, and what comes out goes through the pipeline of an update; on a conflict with
another writer it is applied anew to what that one wrote, unless the patch itself names a resourceVersion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from sampan.api import metadata as meta
from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request, conflict, invalid, must_be_specified, undeterminable
from sampan.api.negotiation import JSON, YAML, media_type, unsupported_media_type
from sampan.api.options import check_type, decode_body
from sampan.api.registry import Registry, Written
from sampan.api.request import Request
from sampan.api.resource import Cause
from sampan.api.turns import LARGE_BODY_BYTES, beside
from sampan.schema.apply import ApplyError, Conflicts, apply, typed_error
from sampan.schema.decode import repeated_keys
from sampan.schema.objects import Object, split_api_version
from sampan.schema.patch import GO_MAP, PatchError, json_patch, merge_patch, strategic_merge_patch, undecodable
from sampan.schema.typed import misfits
from sampan.schema.types import cannot_handle

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
APPLY_PATCH_CBOR = "application/apply-patch+cbor"
"""Has become ``APPLY_PATCH`` before it comes here (``encodings.decoded``)."""
APPLY_ATTEMPTS = 5
WRONG_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"

REASONS = {400: "BadRequest", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 422: "Invalid"}


def patch_media(request: Request, served: Served | None) -> str:
    """Return the media type of a patch. Raises 415."""
    media = media_type(request.headers.get("content-type", ""))
    known = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if served is None or not served.resource.custom:
        known.insert(2, STRATEGIC_PATCH)
    if media not in known:
        raise unsupported_media_type((*known, APPLY_PATCH_CBOR))
    return media


async def patch(
    registry: Registry, request: Request, served: Served, namespace: str, name: str, subresource: str = ""
) -> Written:
    """Patch an object. Raises 400, 404, 409, 413, 415 and 422."""
    media = patch_media(request, served)
    force = request.query.get("force")
    if media == APPLY_PATCH:
        return await _apply(registry, request, served, namespace, name, subresource)
    if force is not None:
        raise _patch_options("force", "Forbidden", "Forbidden: may not be specified for non-apply patch")
    large = len(request.body) > LARGE_BODY_BYTES
    decoded, duplicates = await beside(decode_patch, request) if large else decode_patch(request)
    applied = patcher(media, decoded, served)
    warned = len(request.warnings)

    def change(old: Object) -> Object:
        del request.warnings[warned:]
        uid = old["metadata"].get("uid")
        new = applied(old)
        check_patched(request, served, new, namespace, name, duplicates)
        check_metadata(served, new, uid, name)
        return new

    return await registry.replace(request, served, namespace, name, change, subresource=subresource)


def decode_patch(request: Request) -> tuple[Any, list[str]]:
    """Return the decoded JSON or merge patch and its duplicate fields. Raises 400."""
    try:
        return decode_body(request, JSON)
    except StatusError:
        raise bad_request("invalid JSON patch") from None


def patcher(media: str, decoded: Any, served: Served | None) -> Callable[[Object], Object]:
    """Return what applies a decoded patch; it raises 400, 413, 415 and 422."""

    def applied(old: Object) -> Object:
        try:
            if media == JSON_PATCH:
                return json_patch(old, decoded)
            if media == STRATEGIC_PATCH and served is not None and served.type is not None:
                return strategic_merge_patch(old, decoded, served.type)
            return merge_patch(old, decoded)
        except PatchError as error:
            details = {"causes": [{"message": error.why}]} if error.why else None
            raise StatusError(error.code, REASONS.get(error.code, ""), error.message, details=details) from None

    return applied


def check_patched(request: Request, served: Served, new: Any, namespace: str, name: str, duplicates: list[str]) -> None:
    """Refuse what a patch must not make of an object. Raises 400 and 422."""
    resource = served.resource
    if not isinstance(new.get("metadata"), dict):
        raise undeterminable(name)
    wanted, unchecked = (resource.kind, resource.api_version), orjson.dumps(new)
    found = (new.get("kind"), new.get("apiVersion"))
    if found != wanted:
        raise wrong_kind(served, new, name)
    try:
        check_type(request, served, new, duplicates)
    except StatusError as error:
        raise undecodable_result(unchecked, error.message.partition(f"as a {resource.kind}: ")[2]) from None
    if new["metadata"].get("name") != name:
        raise wrong_name(new["metadata"].get("name", ""), name)
    if resource.namespaced and new["metadata"].get("namespace", namespace) != namespace:
        raise bad_request(WRONG_NAMESPACE)


def wrong_kind(served: Served, new: Object, name: str) -> StatusError:
    """Return what refuses another kind or version than the URL's."""
    resource, kind, api_version = served.resource, new.get("kind"), new.get("apiVersion")
    if not isinstance(kind, str) or not kind or not isinstance(api_version, str) or not resource.custom:
        body = orjson.dumps(new).decode()
        return undecodable_result(
            body.encode(), f"Object 'Kind' is missing in '{body}'" if not kind else "no kind match"
        )
    causes = []
    if kind != resource.kind:
        causes.append(Cause("kind", "FieldValueInvalid", f'Invalid value: "{kind}": must be {resource.kind}'))
    if api_version != resource.api_version:
        message = f'Invalid value: "{api_version}": must be {resource.api_version}'
        causes.append(Cause("apiVersion", "FieldValueInvalid", message))
    given = replace(resource, kind=kind, group=split_api_version(api_version)[0])
    return invalid(given, name, causes)


def undecodable_result(patched: bytes, why: str) -> StatusError:
    """Return the 422 for a patch that makes of an object what cannot be decoded."""
    cause = {"reason": "FieldValueInvalid", "field": "patch"}
    cause["message"] = f"Invalid value: {orjson.dumps(patched.decode()).decode()}: {why}"
    return StatusError(422, "Invalid", f' "" is invalid: patch: {cause["message"]}', details={"causes": [cause]})


def wrong_name(found: str, name: str) -> StatusError:
    if not found:
        return undeterminable(name)
    return bad_request(f"the name of the object ({found}) does not match the name on the URL ({name})")


def check_metadata(served: Served, new: Object, uid: str | None, name: str) -> None:
    """Refuse changes of what identifies an object, and the lack of a resourceVersion where one is needed. Raises 422."""
    metadata, resource = new["metadata"], served.resource
    if metadata.get("uid", uid) != uid:
        message = f'Invalid value: "{metadata["uid"]}": field is immutable'
        raise invalid(resource, name, [Cause("metadata.uid", "FieldValueInvalid", message)])
    if resource.needs_version and not metadata.get("resourceVersion"):
        raise must_be_specified(resource, name)


async def _apply(
    registry: Registry, request: Request, served: Served, namespace: str, name: str, subresource: str
) -> Written:
    existing = registry.api.store.get(served.key(namespace, name))
    new = existing is None
    if len(request.body) > LARGE_BODY_BYTES:
        config, loose = await beside(_configuration, request, served, namespace, name, new)
    else:
        config, loose = _configuration(request, served, namespace, name, new)
    config = _applied_part(config, served, subresource)
    return await apply_to(registry, request, served, namespace, name, config, subresource, loose=loose)


async def apply_to(
    registry: Registry,
    request: Request,
    served: Served,
    namespace: str,
    name: str,
    config: Object,
    subresource: str = "",
    *,
    loose: bool = False,
) -> Written:
    """Apply a configuration in the name of the request's field manager. ``loose``: what it makes must be decoded.
    Raises 400, 404, 409 and 422."""
    manager = request.query.get("fieldManager")
    if not manager:
        raise _patch_options("fieldManager", "Required", "Required value: is required for apply patch")
    force = request.query.get("force") in ("true", "1", "True")

    def change(old: Object | None) -> Object:
        try:
            made = apply(
                old,
                config,
                type=served.type,
                manager=manager,
                api_version=served.resource.api_version,
                now=meta.now(),
                force=force,
                subresource=subresource,
                part=lambda obj: _applied_part(obj, served, subresource),
                decode=served.type.check if served.type is not None else None,
                versions=registry.versions(served),
            )
            if loose and served.type is not None:
                served.type.check(made)
            return made
        except Conflicts as conflicts:
            raise _apply_conflict(conflicts) from None
        except ApplyError as error:
            raise bad_request(str(error)) from None

    key = served.key(namespace, name)
    for _ in range(APPLY_ATTEMPTS):
        if subresource or registry.api.store.get(key) is not None:
            return await registry.replace(
                request, served, namespace, name, change, subresource=subresource, track=False, spares=True
            )
        uid = config["metadata"].get("uid")
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(served.resource, name, why)
        try:
            large = len(request.body) > LARGE_BODY_BYTES
            made = await beside(change, None) if large else change(None)
            return await registry.create_instead(request, served, namespace, name, made, track=False)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
    raise conflict(served.resource, name)


def _configuration(request: Request, served: Served, namespace: str, name: str, new: bool) -> tuple[Object, bool]:
    """Return the applied configuration (YAML or JSON, of the right kind, name and namespace), and whether what it makes
    must be decoded. Raises 400."""
    config, duplicates = decode_body(request, YAML)
    if config is None:
        config = {}
    if not isinstance(config, dict):
        words = undecodable(config, GO_MAP).message.removeprefix("error decoding patch: ")
        raise bad_request(f"error decoding patch: error unmarshaling JSON: while decoding JSON: {words}")
    resource = served.resource
    if config.get("kind") != resource.kind or config.get("apiVersion") != resource.api_version:
        version, kind = config.get("apiVersion") or "/", config.get("kind") or ""
        raise bad_request(f"invalid object type: {version if '/' in version else f'/{version}'}, Kind={kind}")
    metadata = config.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request(cannot_handle(resource.kind, resource.version, "metadata must be an object"))
    if metadata and metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if served.type is not None:
        why = misfits(served.type, config)
        if why:
            raise bad_request(typed_error(config, why))
    config, loose = judged(request, served, config, duplicates)
    metadata = config["metadata"] = config.get("metadata") or {}
    if new and not metadata.get("name"):
        raise undeterminable(name)
    if metadata.setdefault("name", name) != name:
        raise wrong_name(str(metadata["name"]), name)
    if resource.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise bad_request(WRONG_NAMESPACE)
    return config, loose


def judged(request: Request, served: Served, config: Object, duplicates: list[str]) -> tuple[Object, bool]:
    """Check a configuration against its type. Return it as it was sent, for what is empty in it is owned though decoding an
    object drops it, and whether what it makes must be decoded. Unknown fields are pruned. Raises 400."""
    if duplicates and request.query.get("fieldValidation") == "Strict":
        raise bad_request(f"error strict decoding patch: error converting YAML to JSON: {repeated_keys(duplicates)}")
    checked = orjson.loads(orjson.dumps(config))
    if check_type(request, served, checked, duplicates):
        return checked, False
    return config, checked != config


def _applied_part(config: Object, served: Served, subresource: str) -> Object:
    """Leave out what this path resets anyway (``GetResetFields``), so that the applier does not come to own it."""
    if subresource == "status":
        names = ("name", "namespace", "uid", "resourceVersion")
        kept = {key: value for key, value in config["metadata"].items() if key in names}
        parts: Object = {key: config[key] for key in ("apiVersion", "kind", "status") if key in config}
        return {**parts, "metadata": kept}
    if served.resource.status and not subresource:
        return {key: value for key, value in config.items() if key != "status"}
    return config


def _apply_conflict(conflicts: Conflicts) -> StatusError:
    causes = [
        {"reason": "FieldManagerConflict", "message": item.message, "field": item.field} for item in conflicts.conflicts
    ]
    return StatusError(409, "Conflict", conflicts.message, details={"causes": causes})


def _patch_options(field: str, reason: str, message: str) -> StatusError:
    cause = {"reason": f"FieldValue{reason}", "message": message, "field": field}
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]}
    text = f'PatchOptions.meta.k8s.io "" is invalid: {field}: {message}'
    return StatusError(422, "Invalid", text, details=details)
