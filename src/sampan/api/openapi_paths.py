"""The OpenAPI paths of a resource: verbs, their kinds, and the query parameters that kubectl looks for."""

from __future__ import annotations

from typing import Any

from sampan.api.catalog import Served
from sampan.schema.objects import Object

WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
LIST_PARAMETERS = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch",
    "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
TYPES = {"limit": "integer", "timeoutSeconds": "integer", "watch": "boolean", "sendInitialEvents": "boolean", "allowWatchBookmarks": "boolean", "force": "boolean"}  # fmt: skip  # noqa: E501
PATCHES = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)  # fmt: skip
DELETE_PARAMETERS = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")


def query(names: tuple[str, ...]) -> list[Object]:
    return [
        {"name": name, "in": "query", "schema": {"type": TYPES.get(name, "string"), "uniqueItems": True}}
        for name in names
    ]


def paths_of(served: Served, model: str, schemas: str) -> dict[str, Any]:
    """Return path → path item of one resource, without its subresources' bodies."""
    resource = served.resource
    prefix = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    home = (
        f"{prefix}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{prefix}/{resource.plural}"
    )
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}

    def operation(
        action: str, method: str, parameters: tuple[str, ...], body: tuple[str, ...] = (), of: str = model
    ) -> Object:
        content = {"application/json": {"schema": {"$ref": schemas + of}}}
        made: Object = {
            "operationId": f"{action}{resource.kind}{'Namespaced' if resource.namespaced else ''}{method.capitalize()}",
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        }
        if parameters:
            made["parameters"] = query(parameters)
        if body:
            schema = {"$ref": schemas + model} if method != "patch" else {"type": "object"}
            made["requestBody"] = {"content": {media: {"schema": schema} for media in body}, "required": True}
        return made

    where = [{"name": "namespace", "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}]
    named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}]
    scope = where if resource.namespaced else []
    verbs = resource.verbs
    collection: Object = {"parameters": scope} if scope else {}
    single: Object = {"parameters": scope + named}
    if "list" in verbs:
        collection["get"] = operation("list", "get", LIST_PARAMETERS, of=model + "List")
    if "create" in verbs:
        collection["post"] = operation("post", "post", WRITE_PARAMETERS, ("application/json", "application/yaml"))
    if "deletecollection" in verbs:
        collection["delete"] = operation("deletecollection", "delete", LIST_PARAMETERS + DELETE_PARAMETERS)
    if "get" in verbs:
        single["get"] = operation("get", "get", ())
    if "update" in verbs:
        single["put"] = operation("put", "put", WRITE_PARAMETERS, ("application/json", "application/yaml"))
    if "patch" in verbs:
        media = tuple(m for m in PATCHES if not (resource.custom and "strategic" in m))
        single["patch"] = operation("patch", "patch", (*WRITE_PARAMETERS, "force"), media)
    if "delete" in verbs:
        single["delete"] = operation("delete", "delete", DELETE_PARAMETERS)
    found: dict[str, Any] = {home: collection}
    if len(single) > 1:
        found[home + "/{name}"] = single
    if resource.namespaced and "list" in verbs:
        found[f"{prefix}/{resource.plural}"] = {"get": collection["get"]}
    if resource.status:
        status = {key: single[key] for key in ("get", "put", "patch", "parameters") if key in single}
        found[home + "/{name}/status"] = status
    return found
