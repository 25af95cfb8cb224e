"""Versions of a CustomResourceDefinition as kube-apiserver shows them in messages: its internal structs, every field of them.

Source: apiextensions-apiserver pkg/apis/apiextensions (types.go, types_jsonschema.go), v1/conversion.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sampan.api.resources.reading import dig, items
from sampan.schema.objects import Object

Show = Callable[[Any], Any]


def given(value: Any) -> Any:
    """A pointer, or what is JSON already."""
    return value


def text_of(value: Any) -> Any:
    return value or ""


def truth(value: Any) -> bool:
    return bool(value)


def schemas(value: Any) -> Any:
    """Schemas in a list or by name."""
    if isinstance(value, dict):
        return {key: shown_schema(one) for key, one in sorted(value.items())} or None
    return [shown_schema(one) for one in value] if value else None


def or_array(value: Any) -> Any:
    if value is None:
        return None
    several = isinstance(value, list)
    return {"Schema": None if several else shown_schema(value), "JSONSchemas": schemas(value) if several else None}


def or_bool(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return None if value is None else {"Allows": value, "Schema": None}
    return {"Allows": True, "Schema": shown_schema(value)}


def dependencies(value: Any) -> Any:
    if not value:
        return None
    return {
        key: {
            "Schema": None if isinstance(one, list) else shown_schema(one),
            "Property": one if isinstance(one, list) else None,
        }
        for key, one in sorted(value.items())
    }


def documentation(value: Any) -> Any:
    return value and {"Description": value.get("description") or "", "URL": value.get("url") or ""}


def rules(value: Any) -> Any:
    return value and [
        {
            **{name: one.get(name[0].lower() + name[1:]) or "" for name in ("Rule", "Message", "MessageExpression")},
            "Reason": one.get("reason"),
            "FieldPath": one.get("fieldPath") or "",
            "OptionalOldSelf": one.get("optionalOldSelf"),
        }
        for one in value
    ]


def shown_schema(schema: Any) -> Any:
    """Return a schema as the struct that it is, None where there is none."""
    if not isinstance(schema, dict):
        return None
    return {name: show(schema.get(key)) for name, key, show in SCHEMA}


SCHEMA: tuple[tuple[str, str, Show], ...] = (
    ("ID", "id", text_of), ("Schema", "$schema", text_of), ("Ref", "$ref", given),
    ("Description", "description", text_of), ("Type", "type", text_of), ("Nullable", "nullable", truth),
    ("Format", "format", text_of), ("Title", "title", text_of), ("Default", "default", given),
    ("Maximum", "maximum", given), ("ExclusiveMaximum", "exclusiveMaximum", truth), ("Minimum", "minimum", given),
    ("ExclusiveMinimum", "exclusiveMinimum", truth), ("MaxLength", "maxLength", given),
    ("MinLength", "minLength", given), ("Pattern", "pattern", text_of), ("MaxItems", "maxItems", given),
    ("MinItems", "minItems", given), ("UniqueItems", "uniqueItems", truth), ("MultipleOf", "multipleOf", given),
    ("Enum", "enum", given), ("MaxProperties", "maxProperties", given), ("MinProperties", "minProperties", given),
    ("Required", "required", given), ("Items", "items", or_array), ("AllOf", "allOf", schemas),
    ("OneOf", "oneOf", schemas), ("AnyOf", "anyOf", schemas), ("Not", "not", shown_schema),
    ("Properties", "properties", schemas), ("AdditionalProperties", "additionalProperties", or_bool),
    ("PatternProperties", "patternProperties", schemas), ("Dependencies", "dependencies", dependencies),
    ("AdditionalItems", "additionalItems", or_bool), ("Definitions", "definitions", schemas),
    ("ExternalDocs", "externalDocs", documentation), ("Example", "example", given),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", given),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", truth),
    ("XIntOrString", "x-kubernetes-int-or-string", truth), ("XListMapKeys", "x-kubernetes-list-map-keys", given),
    ("XListType", "x-kubernetes-list-type", given), ("XMapType", "x-kubernetes-map-type", given),
    ("XValidations", "x-kubernetes-validations", rules),
)  # fmt: skip
"""Each field of a schema: its name in Go, in JSON, and how it is shown."""


def shown_version(version: Object, moved: Collection[str]) -> Object:
    """Return a version; ``moved``: what all have alike, and stands above them."""
    parts = {key: value for key, value in version.items() if key not in moved}
    schema, below = parts.get("schema"), parts.get("subresources")
    scale = dig(below, "scale")
    return {
        "Name": parts.get("name") or "",
        "Served": bool(parts.get("served")),
        "Storage": bool(parts.get("storage")),
        "Deprecated": bool(parts.get("deprecated")),
        "DeprecationWarning": parts.get("deprecationWarning"),
        "Schema": None if schema is None else {"OpenAPIV3Schema": shown_schema(schema.get("openAPIV3Schema"))},
        "Subresources": None
        if below is None
        else {
            "Status": below.get("status"),
            "Scale": scale
            and {
                "SpecReplicasPath": scale.get("specReplicasPath") or "",
                "StatusReplicasPath": scale.get("statusReplicasPath") or "",
                "LabelSelectorPath": scale.get("labelSelectorPath"),
            },
        },
        "AdditionalPrinterColumns": [
            {
                **{key.capitalize(): column.get(key) or "" for key in ("name", "type", "format", "description")},
                "Priority": column.get("priority") or 0,
                "JSONPath": column.get("jsonPath") or "",
            }
            for column in items(parts, "additionalPrinterColumns")
        ]
        or None,
        "SelectableFields": [{"JSONPath": one.get("jsonPath") or ""} for one in items(parts, "selectableFields")]
        or None,
    }
