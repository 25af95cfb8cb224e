"""OpenAPI v3: an index with hashed URLs, and one document per group version, made when asked for and kept as bytes.

A document holds the paths of its group version (the verbs with their kind and query parameters, which is what kubectl
looks up) and the schemas they reach. Source: KEP-2896. ``/openapi/v2`` is in ``openapi_v2.py``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api import openapi_v2
from sampan.api.catalog import Served
from sampan.api.errors import StatusError
from sampan.api.openapi_paths import paths_of
from sampan.api.request import Request, Response
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api

A_YEAR = 365 * 24 * 3600
DEFS = "#/$defs/"
SCHEMAS = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
ALWAYS = (META + "DeleteOptions", META + "Status", META + "APIResourceList")


def add(api: Api) -> None:
    """Serve ``/openapi/v3`` and ``/openapi/v2``."""
    documents = Documents(api)
    api.route("/openapi/v3", documents.answer)
    api.route("/openapi/v2", openapi_v2.Documents(api).answer)


class Documents:
    """The OpenAPI v3 documents of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._generation = -1
        self._known: dict[str, bytes] = {}
        self._hashes: dict[str, str] = {}

    def _group_versions(self) -> dict[str, list[Served]]:
        """Return path (``api/v1``, ``apis/apps/v1``) → resources."""
        found: dict[str, list[Served]] = {}
        for served in self.api.catalog:
            resource = served.resource
            if (resource.group, resource.version) in self.api.remotes:
                continue
            path = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
            found.setdefault(path, []).append(served)
        return dict(sorted(found.items()))

    async def answer(self, request: Request) -> Response:
        if self._generation != self.api.catalog.generation:
            self._generation = self.api.catalog.generation
            self._known.clear()
            self._hashes.clear()
        path = request.attributes.path.removeprefix("/openapi/v3").strip("/")
        versions = self._group_versions()
        if not path:
            return self._index(versions)
        elsewhere = self.api.remote(f"/{path}")
        if elsewhere is not None:
            return await elsewhere.answer(request)
        if path not in versions:
            raise StatusError(404, "NotFound", "the server could not find the requested resource", details={})
        if path not in self._known:
            self._known[path] = document(self.api, versions[path])
        digest = self._hash(path, versions[path])
        tag = f'"{digest}"'
        headers: tuple[tuple[str, str], ...] = (("ETag", tag), ("Vary", "Accept"))
        asked = request.query.get("hash", "")
        if asked == digest:
            expires = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + A_YEAR))
            headers = (*headers, ("Cache-Control", "public, immutable"), ("Expires", expires))
        elif asked:
            return Response(b"", 301, headers=(("Location", f"/openapi/v3/{path}?hash={digest}"),))
        if request.headers.get("if-none-match") == tag:
            return Response(b"", 304, headers=headers)
        return Response(self._known[path], headers=headers)

    def _index(self, versions: dict[str, list[Served]]) -> Response:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._hash(path, resources)}"}
            for path, resources in versions.items()
        }
        for remote in self.api.remotes.values():
            paths |= {path: {"serverRelativeURL": url} for path, url in remote.open_api.items()}
        return Response(orjson.dumps({"paths": dict(sorted(paths.items()))}))

    def _hash(self, path: str, resources: list[Served]) -> str:
        """Return what changes whenever the document does, without making it: the declarations and the schemas of CRDs."""
        if path not in self._hashes:
            digest = hashlib.sha256(self.api.types.version.encode())
            for served in resources:
                resource = served.resource
                names = f"{path} {resource.plural} {resource.kind} {sorted(served.subresources)} {resource.status}"
                digest.update(names.encode())
                if resource.custom:
                    digest.update(orjson.dumps(custom_schema(served)))
            self._hashes[path] = digest.hexdigest().upper()
        return self._hashes[path]


def document(api: Api, resources: list[Served]) -> bytes:
    """Return the OpenAPI v3 document of one group version."""
    definitions = api.types.definitions
    schemas: dict[str, Any] = {}
    names: dict[str, str] = {}
    wanted = list(ALWAYS)
    for served in resources:
        resource = served.resource
        name = api.types.definition_name(resource.group, resource.version, resource.kind)
        if resource.custom or name is None:
            name = custom_name(served)
            schemas[name] = custom_schema(served)
            schemas[name + "List"] = custom_list(served, name)
            wanted += [META + "ObjectMeta", META + "ListMeta"]
        else:
            wanted += [name, name + "List"]
        names[resource.plural] = name
    reached = closure(definitions, [name for name in wanted if name in definitions])
    for name in reached:
        schemas[name] = converted(definitions[name])
    paths: dict[str, Any] = {}
    for served in resources:
        paths |= paths_of(served, names[served.resource.plural], SCHEMAS)
    info = {"title": "Kubernetes", "version": f"v{api.types.version}.0"}
    body = {
        "openapi": "3.0.0",
        "info": info,
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }
    return orjson.dumps(body)


def references(schema: Any) -> list[str]:
    """Return the names of definitions that a schema names."""
    found: list[str] = []
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            target = node.get("$ref")
            if isinstance(target, str):
                found.append(target.rpartition("/")[2])
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return found


def closure(definitions: Mapping[str, Any], names: list[str]) -> set[str]:
    """Return the definitions that are reached from ``names``."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached and name in definitions:
            reached.add(name)
            waiting += references(definitions[name])
    return reached


def converted(schema: Any) -> Any:
    """Return a definition as v3 writes it: a reference with siblings becomes an ``allOf``; a type is one word."""
    if isinstance(schema, list):
        return [converted(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    target = schema.get("$ref")
    if isinstance(target, str):
        reference = {"$ref": SCHEMAS + target.rpartition("/")[2]}
        siblings = {key: converted(value) for key, value in schema.items() if key != "$ref"}
        return {**siblings, "allOf": [reference]} if siblings else reference
    made = {key: converted(value) for key, value in schema.items()}
    if "properties" in made and isinstance(made["properties"], dict):
        for name in ("apiVersion", "kind"):  # the packaged definitions pin them, Kubernetes' own do not
            if isinstance(made["properties"].get(name), dict):
                made["properties"][name].pop("enum", None)
    kind = made.get("type")
    if isinstance(kind, list):
        named = [word for word in kind if word != "null"]
        if len(named) == 1:
            made["type"] = named[0]
        else:
            made.pop("type")
    return made


# custom resources


def custom_name(served: Served) -> str:
    """Return the model name of a custom resource: reversed group, version, kind (``io.example.v1.Widget``)."""
    resource = served.resource
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def custom_schema(served: Served) -> Object:
    resource = served.resource
    raw = getattr(served.type, "schema", None)
    schema: Object = dict(raw) if isinstance(raw, dict) else {"type": "object"}
    properties: Object = {**(schema.get("properties") or {})}
    properties |= {
        "apiVersion": {"type": "string", "description": API_VERSION},
        "kind": {"type": "string", "description": KIND},
        "metadata": {"allOf": [{"$ref": f"{SCHEMAS}{META}ObjectMeta"}], "description": METADATA},
    }
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": [kind]}


def custom_list(served: Served, name: str) -> Object:
    resource = served.resource
    kind = {"group": resource.group, "version": resource.version, "kind": f"{resource.kind}List"}
    return {
        "description": f"{resource.kind}List is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"allOf": [{"$ref": f"{SCHEMAS}{META}ListMeta"}]},
            "items": {"type": "array", "items": {"$ref": SCHEMAS + name}},
        },
        "x-kubernetes-group-version-kind": [kind],
    }


METADATA = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas "
    "to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint "
    "the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
