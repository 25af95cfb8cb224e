"""OpenAPI v2 (Swagger) as JSON, for old clients: all definitions of the version and of the custom resources.

The protobuf form (gnostic's ``openapi.v2.Document``) has a title and no definitions. kubectl asks for it only about kinds
that v3 does not describe (``List``), finds nothing, and leaves the validation to the server, as with a foreign kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.errors import StatusError
from sampan.api.openapi_paths import paths_of
from sampan.api.request import Handler, Request, Response

if TYPE_CHECKING:
    from sampan.api.app import Api

DEFINITIONS = b'"#/definitions/'
PROTOBUF = "application/com.github.proto-openapi.spec.v2"


def handler(api: Api) -> Handler:
    """Return the handler of ``/openapi/v2``."""
    kept: dict[int, bytes] = {}

    async def answer(request: Request) -> Response:
        accept = request.headers.get("accept", "*/*")
        if PROTOBUF in accept:
            # asked for with an @, which a media type may not have: answered without, as kube-apiserver does
            return Response(protobuf_document(api), content_type=f"{PROTOBUF}.v1.0+protobuf")
        if "json" not in accept and "*/*" not in accept:
            raise StatusError(406, "NotAcceptable", "only the following media types are accepted: application/json")
        generation = api.catalog.generation
        if generation not in kept:
            kept.clear()
            kept[generation] = document(api)
        return Response(kept[generation], headers=(("Vary", "Accept"),))

    return answer


def protobuf_document(api: Api) -> bytes:
    """Return the document's frame: ``swagger`` (field 1), ``info`` (2: title 1, version 2), empty ``paths`` (8)."""

    def text(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    info = text(1, b"Kubernetes") + text(2, f"v{api.types.version}.0".encode())
    return text(1, b"2.0") + text(2, info) + text(8, b"")


def document(api: Api) -> bytes:
    """Return the whole document."""
    from sampan.api.openapi import converted, custom_list, custom_name, custom_schema

    definitions: dict[str, Any] = converted(api.types.definitions)
    paths: dict[str, Any] = {}
    for served in api.catalog:
        resource = served.resource
        name = api.types.definition_name(resource.group, resource.version, resource.kind)
        if resource.custom or name is None:
            name = custom_name(served)
            definitions[name] = custom_schema(served)
            definitions[name + "List"] = custom_list(served, name)
        paths |= {path: swagger_item(item) for path, item in paths_of(served, name, "#/definitions/").items()}
    body = {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": f"v{api.types.version}.0"},
        "paths": paths,
        "definitions": definitions,
    }
    return orjson.dumps(body).replace(b'"#/components/schemas/', DEFINITIONS)


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
        schema = value["responses"]["200"]["content"]["application/json"]["schema"]
        made[key] = {
            **operation,
            "parameters": parameters,
            "produces": ["application/json", "application/yaml"],
            "responses": {"200": {"description": "OK", "schema": schema}},
        }
    return made


def swagger_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}
