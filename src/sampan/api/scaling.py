"""The scale subresource: an ``autoscaling/v1 Scale`` read from, and written through, JSONPaths of the resource."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import orjson

from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request, invalid
from sampan.api.negotiation import JSON, YAML, media_type
from sampan.api.options import decode_body
from sampan.api.patching import APPLY_PATCH, apply_to, patch_media, patcher
from sampan.api.registry import Registry
from sampan.api.rendering import value_response
from sampan.api.request import Request, Response
from sampan.api.resource import Cause, Resource
from sampan.schema.jsonpath import first
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

MAX_INT32 = (1 << 31) - 1
SCALE = Resource(group="autoscaling", version="v1", kind="Scale", plural="scales")


def scale_of(served: Served, obj: Object) -> Object:
    """Return the Scale of an object."""
    paths = served.resource.scale or {}
    metadata = obj["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = first(paths["specReplicasPath"], obj)
    status: Object = {"replicas": first(paths.get("statusReplicasPath", ""), obj) or 0}
    selector = first(paths["labelSelectorPath"], obj) if paths.get("labelSelectorPath") else None
    if selector:
        status["selector"] = selector_text(selector)
    shown = {field: metadata[field] for field in fields if field in metadata}
    owners = scale_owners(metadata.get("managedFields") or (), replicas_path(served))
    if owners:
        shown["managedFields"] = owners
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": shown,
        "spec": {"replicas": replicas} if replicas is not None else {},
        "status": status,
    }


def selector_text(selector: Any) -> str:
    """Return a selector as a Scale shows it: a text, a LabelSelector or (ReplicationControllers) a map of labels."""
    if isinstance(selector, str):
        return selector
    if isinstance(selector, dict) and not {"matchLabels", "matchExpressions"} & selector.keys():
        selector = {"matchLabels": selector}
    return str(label_selector(selector))


def replicas_path(served: Served) -> list[str]:
    path = (served.resource.scale or {})["specReplicasPath"]
    return [part for part in path.strip("{}").split(".") if part]


def scale_owners(entries: Iterable[Object], path: list[str]) -> list[Object]:
    """Return who owns the replicas, as owners of the Scale's own field (``ScaleHandler.ToSubresource``)."""
    owners = []
    for entry in entries:
        at: Any = entry.get("fieldsV1")
        for part in path:
            at = at.get(f"f:{part}") if isinstance(at, dict) else None
        if at is not None:
            owned: Object = {"f:spec": {"f:replicas": {}}}
            owners.append({**entry, "apiVersion": "autoscaling/v1", "fieldsV1": owned})
    return owners


async def scale(registry: Registry, request: Request, served: Served, namespace: str, name: str) -> Response:
    """Serve GET, PUT and PATCH of ``/scale``. Raises 400, 404, 405, 409, 415 and 422."""
    if request.method == "GET":
        current = await registry.current(served, namespace, name)
        return value_response(request, scale_of(served, registry.decode(served, current.value)))
    if request.method == "PUT":
        media = media_type(request.headers.get("content-type", "")) or JSON
        given, _ = decode_body(request, YAML if media == YAML else JSON)
        asked = _checked(given)
        if (asked.get("metadata") or {}).get("name") not in (None, "", name):
            raise bad_request(
                f"the name of the object ({asked['metadata']['name']}) does not match the name on the URL ({name})"
            )
        return await _write(registry, request, served, namespace, name, lambda current: asked)
    media = patch_media(request, None)
    if media == APPLY_PATCH:
        return await _apply_scale(registry, request, served, namespace, name)
    given, _ = decode_body(request, JSON)
    applied = patcher(media, given, None)
    return await _write(registry, request, served, namespace, name, lambda current: _checked(applied(current)))


def _checked(scale: Any) -> Object:
    if not isinstance(scale, dict) or not isinstance(scale.get("metadata") or {}, dict):
        raise bad_request("the body of the request is not a Scale")
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if isinstance(replicas, bool) or not isinstance(replicas, int) or abs(replicas) > MAX_INT32:
        raise bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    return scale


async def _apply_scale(registry: Registry, request: Request, served: Served, namespace: str, name: str) -> Response:
    """Apply a Scale: the manager comes to own the replicas of the object, through this subresource."""
    given, _ = decode_body(request, YAML)
    asked = _checked(given)
    if asked.get("kind") != "Scale" or asked.get("apiVersion") != "autoscaling/v1":
        shown = f"{asked.get('apiVersion')}, Kind={asked.get('kind')}"
        raise bad_request(f"the applied object is {shown}, the URL names autoscaling/v1, Kind=Scale")
    replicas = (asked.get("spec") or {}).get("replicas")
    config: Object = {"apiVersion": served.resource.api_version, "kind": served.resource.kind}
    config["metadata"] = {"name": name, **({"namespace": namespace} if namespace else {})}
    at = config
    path = replicas_path(served)
    for part in path[:-1] if replicas is not None else ():
        at = at.setdefault(part, {})
    if replicas is not None:
        _not_negative(served, name, replicas)
        at[path[-1]] = replicas
    written = await apply_to(registry, request, served, namespace, name, config, "scale")
    return value_response(request, scale_of(served, orjson.loads(written.value)))


def _not_negative(served: Served, name: str, replicas: int) -> None:
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(SCALE, name, [Cause("spec.replicas", "FieldValueInvalid", message)])


async def _write(
    registry: Registry, request: Request, served: Served, namespace: str, name: str, make: Any
) -> Response:
    def change(old: Object) -> Object:
        asked = make(scale_of(served, old))
        replicas = (asked.get("spec") or {}).get("replicas", 0)
        _not_negative(served, name, replicas)
        new = copy.deepcopy(old)
        version = (asked.get("metadata") or {}).get("resourceVersion")
        if version:
            new["metadata"]["resourceVersion"] = version
        set_replicas(served, new, replicas)
        return new

    written = await registry.replace(request, served, namespace, name, change, subresource="scale")
    return value_response(request, scale_of(served, orjson.loads(written.value)))


def set_replicas(served: Served, obj: Object, replicas: int) -> None:
    """Write the replicas of an object, in place. Raises 500 where something else stands on the way."""
    path = [part for part in (served.resource.scale or {})["specReplicasPath"].strip("{}").split(".") if part]
    at = obj
    for index, part in enumerate(path[:-1], 1):
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            where = ".".join(path[:index])
            raise StatusError(500, "", f"value cannot be set because .{where} is not a map[string]interface{{}}")
    at[path[-1]] = replicas


def not_served() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})
