"""OpenAPI v2 in the protobuf form that kubectl and client-go ask for: gnostic's ``openapi.v2.Document``.

The document of ``openapi_v2`` (plain dicts) goes in, bytes come out. Messages are a table: JSON key → field number and kind;
what gnostic makes of a union (a parameter is a body or not, ``items`` is a message of its own) is a kind here. Values of free
form (defaults, enums, vendor extensions) are YAML text inside ``Any``, for which JSON is good enough.
Source: gnostic-models openapiv2/OpenAPIv2.proto; protobuf encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from sampan.api.wire import FIXED64, VARINT
from sampan.api.wire_encode import bytes_field, flag, text_field
from sampan.schema.varints import varint

Encode = Callable[[int, Any], bytes]

TABLE: dict[str, str] = {
    "Document": "swagger:1:text info:2:Info host:3:text basePath:4:text schemes:5:texts consumes:6:texts produces:7:texts "
    "paths:8:paths definitions:9:named_schemas",
    "Info": "title:1:text version:2:text description:3:text",
    "PathItem": "$ref:1:text get:2:Operation put:3:Operation post:4:Operation delete:5:Operation options:6:Operation "
    "head:7:Operation patch:8:Operation parameters:9:parameters x-:10:extension",
    "Operation": "tags:1:texts summary:2:text description:3:text operationId:5:text produces:6:texts consumes:7:texts "
    "parameters:8:parameters responses:9:responses schemes:10:texts deprecated:11:flag x-:13:extension",
    "BodyParameter": "description:1:text name:2:text in:3:text required:4:flag schema:5:Schema x-:6:extension",
    "QueryParameter": "required:1:flag in:2:text description:3:text name:4:text allowEmptyValue:5:flag type:6:text "
    "format:7:text collectionFormat:9:text default:10:any uniqueItems:20:flag x-:23:extension",
    "PathParameter": "required:1:flag in:2:text description:3:text name:4:text type:5:text format:6:text "
    "collectionFormat:8:text default:9:any uniqueItems:19:flag x-:22:extension",
    "Response": "description:1:text schema:2:schema_item x-:5:extension",
    "Schema": "$ref:1:text format:2:text title:3:text description:4:text default:5:any multipleOf:6:number maximum:7:number "
    "exclusiveMaximum:8:flag minimum:9:number exclusiveMinimum:10:flag maxLength:11:whole minLength:12:whole pattern:13:text "
    "maxItems:14:whole minItems:15:whole uniqueItems:16:flag maxProperties:17:whole minProperties:18:whole required:19:texts "
    "enum:20:anys additionalProperties:21:additional type:22:types items:23:items allOf:24:schemas "
    "properties:25:named_schemas discriminator:26:text readOnly:27:flag externalDocs:29:ExternalDocs example:30:any "
    "x-:31:extension",
    "ExternalDocs": "description:1:text url:2:text",
}  # fmt: skip


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Return an OpenAPI v2 document as ``openapi.v2.Document``."""
    return message("Document", document)


def message(name: str, value: Mapping[str, Any]) -> bytes:
    known = MESSAGES[name]
    extension = known.get("x-")
    parts: list[bytes] = []
    for key, item in value.items():
        encode = known.get(key)
        if encode is not None:
            parts.append(encode(item))
        elif extension is not None and key.startswith("x-"):
            parts.append(extension((key, item)))
    return b"".join(parts)


def any_value(value: Any) -> bytes:
    return text_field(2, orjson.dumps(value).decode() + "\n")


def named(name: str, value: bytes) -> bytes:
    return text_field(1, name) + bytes_field(2, value)


def paths(number: int, value: Mapping[str, Any]) -> bytes:
    items = [bytes_field(2, named(path, message("PathItem", item))) for path, item in value.items()]
    return bytes_field(number, b"".join(items))


def named_schemas(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(
        number, b"".join(bytes_field(1, named(name, message("Schema", one))) for name, one in value.items())
    )


def parameters(number: int, value: list[Any]) -> bytes:
    return b"".join(bytes_field(number, bytes_field(1, parameter(one))) for one in value)


def parameter(value: Mapping[str, Any]) -> bytes:
    """Return a ``Parameter``: a body, or one of the query or the path."""
    if value["in"] == "body":
        return bytes_field(1, message("BodyParameter", value))
    which = bytes_field(4, message("PathParameter", value)) if value["in"] == "path" else b""
    return bytes_field(2, which or bytes_field(3, message("QueryParameter", value)))


def responses(number: int, value: Mapping[str, Any]) -> bytes:
    found = [bytes_field(1, named(code, bytes_field(1, message("Response", one)))) for code, one in value.items()]
    return bytes_field(number, b"".join(found))


def additional(number: int, value: Any) -> bytes:
    inner = b"\x10" + flag(value) if isinstance(value, bool) else bytes_field(1, message("Schema", value))
    return bytes_field(number, inner)


def types(number: int, value: Any) -> bytes:
    words = value if isinstance(value, list) else [value]
    return bytes_field(number, b"".join(text_field(1, word) for word in words))


KINDS: dict[str, Encode] = {
    "text": text_field,
    "texts": lambda number, value: b"".join([text_field(number, one) for one in value]),
    "flag": lambda number, value: varint(number << 3 | VARINT) + flag(value),
    "whole": lambda number, value: varint(number << 3 | VARINT) + varint(int(value)),
    "number": lambda number, value: varint(number << 3 | FIXED64) + struct.pack("<d", value),
    "any": lambda number, value: bytes_field(number, any_value(value)),
    "anys": lambda number, value: b"".join([bytes_field(number, any_value(one)) for one in value]),
    "extension": lambda number, value: bytes_field(number, named(value[0], any_value(value[1]))),
    "schemas": lambda number, value: b"".join([bytes_field(number, message("Schema", one)) for one in value]),
    "schema_item": lambda number, value: bytes_field(number, bytes_field(1, message("Schema", value))),
    "items": lambda number, value: bytes_field(number, bytes_field(1, message("Schema", value))),
    "paths": paths,
    "named_schemas": named_schemas,
    "parameters": parameters,
    "responses": responses,
    "additional": additional,
    "types": types,
}


def submessage(name: str, number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, message(name, value))


def compiled(line: str) -> dict[str, Callable[[Any], bytes]]:
    found: dict[str, Callable[[Any], bytes]] = {}
    for entry in line.split():
        key, number, kind = entry.rsplit(":", 2)
        encode = KINDS.get(kind) or partial(submessage, kind)
        found[key] = partial(encode, int(number))
    return found


MESSAGES = {name: compiled(line) for name, line in TABLE.items()}
