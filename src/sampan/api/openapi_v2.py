"""OpenAPI v2 (Swagger), whole, in JSON and in gnostic's protobuf: kubectl, Helm and client-go ask for the latter.

Every resource gives a part (its paths and, where a CRD made it, its definitions), encoded once; the built-in definitions are
one part. A document is a join of parts, made when asked for and kept until the catalog changes. Custom schemas are written
without what v2 cannot say, as apiextensions-apiserver does. Source: pkg/controller/openapi/v2, kube-openapi pkg/handler.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.api.catalog import Served
from sampan.api.errors import StatusError
from sampan.api.openapi_merging import merged
from sampan.api.openapi_paths import paths_of
from sampan.api.request import Request, Response
from sampan.api.turns import beside, in_turns

if TYPE_CHECKING:
    from sampan.api.app import Api

REFERENCE = "#/definitions/"
JSON = "application/json"
ASKED_PROTOBUF = "application/com.github.proto-openapi.spec.v2"
PROTOBUF = f"{ASKED_PROTOBUF}.v1.0+protobuf"
"""Asked for with an @, which a media type may not have: answered without, as kube-apiserver does."""


class Part(NamedTuple):
    """The insides of ``paths`` and ``definitions`` that one resource gives, encoded."""

    paths: bytes
    definitions: bytes


class Documents:
    """The OpenAPI v2 document of one API, in both forms."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._generation = -1
        self._known: dict[str, tuple[bytes, str]] = {}
        self._parts: dict[str, dict[Served | None, Part]] = {JSON: {}, PROTOBUF: {}}

    async def answer(self, request: Request) -> Response:
        """Serve ``/openapi/v2``. Raises 405 and 406."""
        if request.method not in ("GET", "HEAD"):
            raise StatusError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        media = wanted_media(request.headers.get("accept", ""))
        if self._generation != self.api.catalog.generation:
            self._generation = self.api.catalog.generation
            self._known.clear()
        known = self._known.get(media)
        if known is None:
            generation = self._generation
            body = await self._document(media, await remote_parts(self.api, media) if self.api.remotes else [])
            known = body, f'"{hashlib.sha256(body).hexdigest().upper()}"'
            if generation == self.api.catalog.generation:
                self._known[media] = known
        body, tag = known
        headers = (("ETag", tag), ("Vary", "Accept"))
        if request.headers.get("if-none-match") == tag:
            return Response(b"", 304, media, headers)
        return Response(body, 200, media, headers)

    async def _document(self, media: str, elsewhere: list[Part]) -> bytes:
        known, all_served = self._parts[media], list(self.api.catalog)
        builtin = known.get(None)
        if builtin is None:
            builtin = await beside(builtin_part, self.api, media)
        parts: dict[Served | None, Part] = {None: builtin}
        made = await in_turns(lambda one: known.get(one) or resource_part(self.api, one, media), all_served)
        parts.update(zip(all_served, made, strict=True))
        self._parts[media] = parts  # what is no longer served is forgotten
        title = {"title": "Kubernetes", "version": f"v{self.api.types.version}.0"}
        return joined([*parts.values(), *elsewhere], title, media)


async def remote_parts(api: Api, media: str) -> list[Part]:
    """Return what extension servers say of the paths that are theirs; one that does not say it is left out."""
    from sampan.api.aggregation.availability import fetch_json

    parts = []
    taken: dict[str, Any] = dict(api.types.definitions) | own_definitions(api)
    for (group, version), remote in sorted(api.remotes.items()):
        found = await fetch_json(remote, "/openapi/v2") if remote.available else None
        if found is not None:
            parts.append(part(*merged(found, f"/apis/{group}/{version}/", taken), media))
    return parts


def own_definitions(api: Api) -> dict[str, Any]:
    """Return the definitions that our custom resources have."""
    made: dict[str, Any] = {}
    for served in api.catalog:
        if served.resource.custom:
            made |= definitions_of(served)
    return made


def wanted_media(accept: str) -> str:
    """Return the first form of an Accept header that there is. Raises 406."""
    for clause in accept.split(",") if accept else ("*/*",):
        media = clause.partition(";")[0].strip()
        if media.startswith(ASKED_PROTOBUF):
            return PROTOBUF
        if media in (JSON, "application/*", "*/*"):
            return JSON
    raise StatusError(406, "NotAcceptable", f"only the following media types are accepted: {JSON}, {PROTOBUF}")


def joined(parts: list[Part], info: dict[str, str], media: str) -> bytes:
    """Return a whole document."""
    if media == JSON:
        paths = b",".join(part.paths for part in parts if part.paths)
        definitions = b",".join(part.definitions for part in parts if part.definitions)
        head = b'{"swagger":"2.0","info":%b,"paths":{' % orjson.dumps(info)
        return b"".join([head, paths, b'},"definitions":{', definitions, b"}}"])
    from sampan.api.openapi_v2_wire import encode_document

    # occurrences of one message field are merged by every reader: parts need no common frame
    return b"".join(
        [encode_document({"swagger": "2.0", "info": info, "paths": {}}), *(b"".join(part) for part in parts)]
    )


def part(paths: dict[str, Any], definitions: dict[str, Any], media: str) -> Part:
    """Return what ``joined`` joins."""
    if media == JSON:
        return Part(orjson.dumps(paths)[1:-1], orjson.dumps(definitions)[1:-1])
    from sampan.api.openapi_v2_wire import encode_document

    return Part(
        encode_document({"paths": paths}) if paths else b"",
        encode_document({"definitions": definitions}) if definitions else b"",
    )


def builtin_part(api: Api, media: str) -> Part:
    return part({}, {name: swagger_schema(schema) for name, schema in api.types.definitions.items()}, media)


def resource_part(api: Api, served: Served, media: str) -> Part:
    """Return the part of one resource."""
    from sampan.api.openapi import custom_name

    resource = served.resource
    name = api.types.definition_name(resource.group, resource.version, resource.kind)
    definitions: dict[str, Any] = {}
    if resource.custom or name is None:
        name = custom_name(served)
        definitions = definitions_of(served)
    paths = {path: swagger_item(item) for path, item in paths_of(served, name, REFERENCE).items()}
    return part(paths, definitions, media)


def definitions_of(served: Served) -> dict[str, Any]:
    """Return the definitions of a custom resource and of its list."""
    from sampan.api.openapi import custom_list, custom_name, custom_schema

    name = custom_name(served)
    return {
        name: swagger_schema(sayable(custom_schema(served))),
        f"{name}List": swagger_schema(custom_list(served, name)),
    }


def sayable(schema: Any) -> Any:
    """Return a custom schema without what v2 cannot say, and without what makes old kubectl refuse objects: items and
    properties of values that may be null or hold unknown fields."""
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("allOf")
    if isinstance(reference, list) and len(reference) == 1 and "$ref" in reference[0]:
        return schema  # metadata: a reference with siblings
    made = {key: value for key, value in schema.items() if key not in ("oneOf", "anyOf", "allOf", "not", "nullable")}
    unknown = bool(made.get("x-kubernetes-preserve-unknown-fields"))
    if schema.get("nullable") or unknown:
        made.pop("items", None)
        made.pop("properties", None)
    if schema.get("nullable") or (unknown and made.get("type") == "object"):
        made.pop("type", None)
    if "items" not in made and made.get("type") == "array":
        del made["type"]
    if isinstance(made.get("items"), dict):
        made["items"] = sayable(made["items"])
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = sayable(made["additionalProperties"])
    properties = made.get("properties")
    if isinstance(properties, dict):
        made["properties"] = {name: sayable(value) for name, value in properties.items()}
        required = [name for name in made.get("required", ()) if not (properties.get(name) or {}).get("nullable")]
        if "required" in made:
            made["required"] = required
            if not required:
                del made["required"]
    return made


def swagger_schema(schema: Any) -> Any:
    """Return a definition as v2 writes it: references stand beside their siblings, a type is one word."""
    if isinstance(schema, list):
        return [swagger_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("allOf")
    if isinstance(reference, list) and len(reference) == 1 and "$ref" in reference[0]:
        schema = {**{key: value for key, value in schema.items() if key != "allOf"}, **reference[0]}
    made = {key: swagger_schema(value) for key, value in schema.items()}
    target = made.get("$ref")
    if isinstance(target, str):
        made["$ref"] = REFERENCE + target.rpartition("/")[2]
    if isinstance(made.get("properties"), dict):
        for name in ("apiVersion", "kind"):  # the packaged definitions pin them, Kubernetes' own do not
            if isinstance(made["properties"].get(name), dict):
                made["properties"][name].pop("enum", None)
    kind = made.get("type")
    if isinstance(kind, list):
        named = [word for word in kind if word != "null"]
        made["type"] = named[0]
        if len(named) != 1:
            del made["type"]
    return made


def swagger_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return a v3 path item as v2 writes it."""
    made: dict[str, Any] = {}
    for key, value in item.items():
        if key == "parameters":
            made[key] = [swagger_parameter(parameter) for parameter in value]
            continue
        operation = {
            name: part for name, part in value.items() if name not in ("requestBody", "parameters", "responses")
        }
        parameters = [swagger_parameter(parameter) for parameter in value.get("parameters", ())]
        if "requestBody" in value:
            content = value["requestBody"]["content"]
            operation["consumes"] = list(content)
            parameters.append(
                {"name": "body", "in": "body", "required": True, "schema": next(iter(content.values()))["schema"]}
            )
        schema = swagger_schema(value["responses"]["200"]["content"]["application/json"]["schema"])
        made[key] = {
            **operation,
            "parameters": parameters,
            "produces": ["application/json", "application/yaml"],
            "responses": {"200": {"description": "OK", "schema": schema}},
        }
    return made


def swagger_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}
