"""Whether a CRD's schema is structural, and why not (apiextensions' ``schema.ValidateStructural``).

A structural schema names every field outside of the logical junctors, so that pruning, defaulting and apply know all
there is; inside ``allOf``, ``anyOf``, ``oneOf`` and ``not`` only values may be restricted.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.schema.causes import Cause, forbidden, invalid, required
from sampan.schema.formats import compile_pattern
from sampan.schema.validation import compile_validator

JUNCTORS = ("allOf", "anyOf", "oneOf")
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING_TYPES = [{"type": "integer"}, {"type": "string"}]
TYPES = ("array", "boolean", "integer", "number", "object", "string")

EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
NESTED_FORBIDDEN = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    PRESERVE: "must be false to be structural",
    EMBEDDED: "must be false to be structural",
    INT_OR_STRING: "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}

Schema = dict[str, Any]


def check_structural(schema: Schema, path: str = "spec.validation.openAPIV3Schema") -> list[Cause]:
    """Return why a schema is not structural, sorted; ``[]`` when it is. ``path`` is where the schema stands."""
    causes: list[Cause] = []
    _invariants(schema, "root", path, causes)
    _completeness(schema, schema, path, causes)
    if not causes:
        _defaults(schema, path, causes)
    return sorted(set(causes))


def _defaults(schema: Schema, path: str, causes: list[Cause]) -> None:
    """A default must be what its own schema accepts."""
    if "default" in schema:
        compile_validator(schema)(schema["default"], f"{path}.default", causes)
    for name, child in (schema.get("properties") or {}).items():
        _defaults(child, f"{path}.properties[{name}]", causes)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _defaults(schema[name], f"{path}.{name}", causes)


def _invariants(schema: Schema, level: str, path: str, causes: list[Cause]) -> None:
    if not isinstance(schema, dict):
        causes.append(invalid(path, schema, "must be a schema"))
        return
    _children(schema, level, path, causes)
    _extensions(schema, path, causes)
    _type(schema, level, path, causes)
    _values(schema, path, causes, skip_any=_is_int_or_string(schema), skip_all=_is_int_or_string_all(schema))
    if level == "root" or schema.get(EMBEDDED):
        _metadata(schema, level, path, causes)


def _children(schema: Schema, level: str, path: str, causes: list[Cause]) -> None:
    if schema.get("type") == "array" and not schema.get("items"):
        causes.append(required(f"{path}.items", "must be specified"))
    if "items" in schema:
        _invariants(schema["items"], "item", f"{path}.items", causes)
    for name, child in (schema.get("properties") or {}).items():
        _invariants(child, "field", f"{path}.properties[{name}]", causes)
    additional = schema.get("additionalProperties")
    if additional is None:
        return
    here = f"{path}.additionalProperties"
    if additional is False:
        causes.append(forbidden(here, "additionalProperties cannot be set to false"))
    if schema.get("properties"):
        causes.append(forbidden(here, "additionalProperties and properties are mutual exclusive"))
    if level == "root":
        causes.append(forbidden(here, "must not be used at the root"))
    if schema.get(EMBEDDED):
        causes.append(forbidden(here, f"must not be used if {EMBEDDED} is set"))
    if isinstance(additional, dict):
        _invariants(additional, "field", here, causes)


def _type(schema: Schema, level: str, path: str, causes: list[Cause]) -> None:
    kind = schema.get("type", "")
    here = f"{path}.type"
    if schema.get(EMBEDDED) and kind != "object":
        text = f"must be object if {EMBEDDED} is true"
        causes.append(invalid(here, kind, text) if kind else required(here, text))
    elif not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        causes.append(required(here, EMPTY_TYPE[level]))
    elif level == "root" and kind != "object":
        causes.append(invalid(here, kind, "must be object at the root"))
    elif kind and kind not in TYPES:
        supported = ", ".join(f'"{name}"' for name in TYPES)
        text = f'Unsupported value: "{kind}": supported values: {supported}'
        causes.append(Cause(here, "FieldValueNotSupported", text))


def _extensions(schema: Schema, path: str, causes: list[Cause]) -> None:
    if schema.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if schema.get(name):
                causes.append(invalid(f"{path}.{name}", True, f"must be false if {INT_OR_STRING} is true"))
    if schema.get(EMBEDDED) and not schema.get(PRESERVE) and not schema.get("properties"):
        text = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        causes.append(required(f"{path}.properties", text))
    for name in ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id"):
        if schema.get(name):
            causes.append(forbidden(f"{path}.{name}", f"{name} is not supported"))
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(forbidden(f"{path}.uniqueItems", text))
    _list_type(schema, path, causes)


def _list_type(schema: Schema, path: str, causes: list[Cause]) -> None:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    items = schema.get("items") or {}
    here = f"{path}.x-kubernetes-list-map-keys"
    if kind is not None and schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        causes.append(invalid(f"{path}.type", schema.get("type", ""), text))
    if keys and kind != "map":
        causes.append(
            invalid(f"{path}.x-kubernetes-list-type", kind, "must be map if x-kubernetes-list-map-keys is non-empty")
        )
    if kind != "map":
        return
    if not keys:
        causes.append(required(here, "must not be empty if x-kubernetes-list-type is map"))
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        causes.append(invalid(f"{path}.items.type", items.get("type", ""), text))
    properties = items.get("properties") or {}
    for index, key in enumerate(keys or ()):
        if key not in properties:
            causes.append(invalid(f"{here}[{index}]", key, "must be a property of items"))
        elif key not in (items.get("required") or ()) and "default" not in properties[key]:
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            causes.append(required(f"{path}.items.properties[{key}].default", text))


def _is_int_or_string(schema: Schema) -> bool:
    return bool(schema.get(INT_OR_STRING)) and schema.get("anyOf") == INT_OR_STRING_TYPES


def _is_int_or_string_all(schema: Schema) -> bool:
    branches = schema.get("allOf") or [{}]
    return bool(schema.get(INT_OR_STRING)) and branches[0].get("anyOf") == INT_OR_STRING_TYPES


def _values(schema: Schema, path: str, causes: list[Cause], skip_any: bool = False, skip_all: bool = False) -> None:
    for junctor in JUNCTORS:
        for index, branch in enumerate(schema.get(junctor) or ()):
            if not (junctor == "anyOf" and skip_any):
                _nested(
                    branch,
                    f"{path}.{junctor}[{index}]",
                    causes,
                    skip_any=skip_all and junctor == "allOf" and index == 0,
                )
    if "not" in schema:
        _nested(schema["not"], f"{path}.not", causes)
    pattern = schema.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            causes.append(invalid(f"{path}.pattern", pattern, text))


def _nested(schema: Schema, path: str, causes: list[Cause], skip_any: bool = False) -> None:
    """Inside a junctor: values may be restricted, nothing may be introduced."""
    if not isinstance(schema, dict):
        causes.append(invalid(path, schema, "must be a schema"))
        return
    _values(schema, path, causes, skip_any=skip_any)
    if isinstance(schema.get("items"), dict):
        _nested(schema["items"], f"{path}.items", causes)
    for name, child in (schema.get("properties") or {}).items():
        _nested(child, f"{path}.properties[{name}]", causes)
    for name, text in NESTED_FORBIDDEN.items():
        if schema.get(name) or (name in ("default", "additionalProperties") and name in schema):
            causes.append(forbidden(f"{path}.{name}", text))
    if "metadata" in (schema.get("properties") or {}):
        causes.append(forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))


def _metadata(schema: Schema, level: str, path: str, causes: list[Cause]) -> None:
    properties = schema.get("properties") or {}
    for name in ("apiVersion", "kind"):
        kind = properties.get(name, {}).get("type")
        if name in properties and kind != "string":
            causes.append(invalid(f"{path}.properties[{name}].type", kind or "", "must be string"))
    metadata = properties.get("metadata")
    if metadata is None:
        return
    here = f"{path}.properties[metadata]"
    if metadata.get("type") != "object":
        causes.append(invalid(f"{here}.type", metadata.get("type", ""), "must be object"))
    allowed = {"type", "description", "default", "properties"}
    if level == "root" and (
        set(metadata) - allowed or set(metadata.get("properties") or {}) - {"name", "generateName"}
    ):
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        causes.append(forbidden(here, text))


def _completeness(schema: Schema, outer: Schema, path: str, causes: list[Cause]) -> None:
    """Every field and item that a junctor restricts must be named outside of it as well."""
    for junctor in JUNCTORS:
        for index, branch in enumerate(schema.get(junctor) or ()):
            _covered(branch, outer, f"{path}.{junctor}[{index}]", path, causes)
    if isinstance(schema.get("not"), dict):
        _covered(schema["not"], outer, f"{path}.not", path, causes)
    for name, child in (schema.get("properties") or {}).items():
        if isinstance(child, dict):
            _completeness(child, child, f"{path}.properties[{name}]", causes)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _completeness(schema[name], schema[name], f"{path}.{name}", causes)


def _covered(branch: Any, outer: Schema, inner_path: str, path: str, causes: list[Cause]) -> None:
    if not isinstance(branch, dict):
        return
    for junctor in JUNCTORS:
        for index, nested in enumerate(branch.get(junctor) or ()):
            _covered(nested, outer, f"{inner_path}.{junctor}[{index}]", path, causes)
    if isinstance(branch.get("not"), dict):
        _covered(branch["not"], outer, f"{inner_path}.not", path, causes)
    if isinstance(branch.get("items"), dict):
        if not isinstance(outer.get("items"), dict):
            causes.append(required(f"{path}.items", f"because it is defined in {inner_path}.items"))
        else:
            _covered(branch["items"], outer["items"], f"{inner_path}.items", f"{path}.items", causes)
    known = outer.get("properties") or {}
    for name, child in (branch.get("properties") or {}).items():
        here, there = f"{path}.properties[{name}]", f"{inner_path}.properties[{name}]"
        if name in known:
            _covered(child, known[name], there, here, causes)
        elif name != "metadata":
            causes.append(required(here, f"because it is defined in {there}"))
