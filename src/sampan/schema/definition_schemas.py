"""What a CustomResourceDefinition may put into an ``openAPIV3Schema``, beyond its being structural.

Source: apiextensions-apiserver pkg/apis/apiextensions/validation (``validateCustomResourceDefinitionValidation``), and
pkg/apiserver/schema/cel (``ValidFieldPath``) for field paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sampan.schema.causes import Cause, forbidden, invalid
from sampan.schema.formats import format_check
from sampan.schema.structure import check_structural

Schema = dict[str, Any]

ROOT_WITH_STATUS = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
    "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
    "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
"""What may stand at the root where there is a status subresource, under the names Kubernetes shows."""
NUMBERS = ("int32", "int64", "float", "double")
SET_USERS = "server-side apply or CEL validation rules"
FIELD = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\['([^']+)'\]")


def check_schema(schema: Schema, path: str, has_status: bool) -> list[Cause]:
    """Return why a schema is refused; ``path`` is where it stands."""
    causes = check_root(schema, path) if has_status else []
    if schema.get("nullable"):
        causes.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    return causes + check_structural(schema, path)


def check_root(schema: Schema, path: str) -> list[Cause]:
    if schema.get("type", "") not in ("", "object"):
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        return [invalid(f"{path}.type", schema["type"], why)]
    allowed = {go_name(name) for name in ROOT_WITH_STATUS}
    if any(value not in (None, False, [], {}, "") and go_name(key) not in allowed for key, value in schema.items()):
        fields = " ".join(ROOT_WITH_STATUS)
        why = f"only [{fields}] fields are allowed at the root of the schema if the status subresource is enabled"
        return [Cause(path, "FieldValueInvalid", f"Invalid value: {why}")]
    return []


def go_name(name: str) -> str:
    """Return a field's name as Go's struct has it, lower-case (``x-kubernetes-validations`` → ``xvalidations``)."""
    return name.replace("x-kubernetes-", "x").replace("-", "").lower()


def selectable(schema: Schema, path: str) -> tuple[list[str], Schema, str]:
    """Follow a simple path (``.spec.color``) into a schema: ``(keys, schema there, why not)``."""
    keys: list[str] = []
    at, rest = schema, path
    while rest:
        match = FIELD.match(rest)
        if match is None:
            return keys, {}, f"expected [ or . but got: {re.split(r'[.[]', rest)[0] or rest}"
        key = match[1] or match[2]
        keys.append(key)
        rest = rest[match.end() :]
        properties, additional = at.get("properties") or {}, at.get("additionalProperties")
        if key in properties:
            at = properties[key]
        elif isinstance(additional, dict):
            at = additional
        else:
            return keys, {}, "does not refer to a valid field"
    return keys, at, ""


def warnings_of(schema: Schema) -> list[str]:
    """Return what is said about a schema that is accepted: formats that nobody checks, sets of what is no scalar."""
    found: list[str] = []
    sets: set[str] = set()
    for node in nodes(schema):
        name = node.get("format")
        if isinstance(name, str) and name and name not in NUMBERS and format_check(name) is None:
            found.append(f'unrecognized format "{name}"')
        kind = (node.get("items") or {}).get("type") if isinstance(node.get("items"), dict) else None
        if node.get("x-kubernetes-list-type") == "set" and kind in ("object", "array"):
            sets.add(f'x-kubernetes-list-type: set for items of type "{kind}" is not supported by {SET_USERS}')
    return found + sorted(sets)


def nodes(schema: Any) -> Iterator[Schema]:
    """Yield a schema and all below it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for child in (schema.get("properties") or {}).values():
        yield from nodes(child)
    for name in ("items", "additionalProperties", "not"):
        yield from nodes(schema.get(name))
    for name in ("allOf", "anyOf", "oneOf"):
        for child in schema.get(name) or ():
            yield from nodes(child)
