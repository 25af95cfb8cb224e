"""Whether a CRD's schema is structural, and why not (apiextensions' ``schema.ValidateStructural``).

A structural schema names every field outside of the logical junctors, so that pruning, defaulting and apply know all
there is; inside ``allOf``, ``anyOf``, ``oneOf`` and ``not`` only values may be restricted.
"""

from __future__ import annotations

from typing import Any

from sampan.schema.causes import Cause, forbidden, invalid, not_supported, required
from sampan.schema.patterns import PatternError, compile_pattern
from sampan.schema.validation import compile_validator

JUNCTORS = ("allOf", "anyOf", "oneOf")
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING_TYPES = [{"type": "integer"}, {"type": "string"}]
UNSUPPORTED = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id")
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
    _unsupported(schema, path, causes)
    if causes:
        return sorted(set(causes))  # what there is beside them is not looked at
    _invariants(schema, "root", path, causes)
    _completeness(schema, schema, path, causes)
    if not causes:
        _defaults(schema, path, causes)
    return sorted(set(causes))


def _unsupported(schema: Schema, path: str, causes: list[Cause]) -> None:
    """Parts of JSON Schema that a CRD may not use, anywhere."""
    if not isinstance(schema, dict):
        return
    for name in UNSUPPORTED:
        if schema.get(name):
            causes.append(forbidden(f"{path}.{name}", f"{name} is not supported"))
    for name, child in (schema.get("properties") or {}).items():
        _unsupported(child, f"{path}.properties[{name}]", causes)
    for name in ("items", "additionalProperties", "not"):
        if schema.get(name):
            _unsupported(schema[name], f"{path}.{name}", causes)
    for junctor in JUNCTORS:
        for index, branch in enumerate(schema.get(junctor) or ()):
            _unsupported(branch, f"{path}.{junctor}[{index}]", causes)


def _defaults(schema: Schema, path: str, causes: list[Cause], inside_meta: str = "") -> None:
    """A default must be what its own schema accepts, with nothing that would be pruned."""
    if "default" in schema:
        here = f"{path}.default"
        found: list[Cause] = []
        if inside_meta:
            causes.append(forbidden(here, f"must not be set in top-level {inside_meta}"))
        elif not _is_pruned(schema, schema["default"]):
            causes.append(invalid(here, schema["default"], "must not have unknown fields"))
        else:
            compile_validator(schema)(schema["default"], "", found)
        for cause in found:
            causes.append(cause._replace(field=f"{here}.{cause.field}" if cause.field else here))
    root = "properties[" not in path
    for name, child in (schema.get("properties") or {}).items():
        meta = inside_meta or (name if root and name in ("apiVersion", "kind", "metadata") else "")
        _defaults(child, f"{path}.properties[{name}]", causes, meta)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _defaults(schema[name], f"{path}.{name}", causes, inside_meta)


def _is_pruned(schema: Schema, value: Any) -> bool:
    """Whether a value has only fields that its schema knows."""
    if isinstance(value, list):
        return all(_is_pruned(schema.get("items") or {}, item) for item in value)
    if not isinstance(value, dict) or schema.get(PRESERVE):
        return True
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    if additional is True:
        return True
    for key, item in value.items():
        child = properties.get(key, additional if isinstance(additional, dict) else None)
        if schema.get(EMBEDDED) and key in ("apiVersion", "kind", "metadata"):
            continue
        if child is None or not _is_pruned(child, item):
            return False
    return True


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
    if schema.get("type") == "array" and schema.get("items") is None:
        causes.append(required(f"{path}.items", "must be specified"))
    if "items" in schema:
        _invariants(schema["items"], "item", f"{path}.items", causes)
    for name, child in (schema.get("properties") or {}).items():
        _invariants(child, "field", f"{path}.properties[{name}]", causes)
    additional = schema.get("additionalProperties")
    if additional is None:
        return
    here = f"{path}.additionalProperties"
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
        if kind == "null":
            causes.append(forbidden(here, "type cannot be set to null, use nullable as an alternative"))


def _extensions(schema: Schema, path: str, causes: list[Cause]) -> None:
    if schema.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if schema.get(name):
                causes.append(invalid(f"{path}.{name}", True, f"must be false if {INT_OR_STRING} is true"))
    if schema.get(EMBEDDED) and not schema.get(PRESERVE) and not schema.get("properties"):
        text = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        causes.append(required(f"{path}.properties", text))
    if schema.get(PRESERVE) is False:
        causes.append(invalid(f"{path}.{PRESERVE}", False, "must be true or undefined"))
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(forbidden(f"{path}.uniqueItems", text))
    _map_type(schema, path, causes)
    _list_type(schema, path, causes)
    _set_type(schema, path, causes)


def _map_type(schema: Schema, path: str, causes: list[Cause]) -> None:
    kind = schema.get("x-kubernetes-map-type")
    if kind is None:
        return
    if schema.get("type") != "object":
        text = "must be object if x-kubernetes-map-type is specified"
        given = schema.get("type")
        causes.append(invalid(f"{path}.type", given, text) if given else required(f"{path}.type", text))
    if kind not in ("atomic", "granular"):
        causes.append(not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular")))


def _set_type(schema: Schema, path: str, causes: list[Cause]) -> None:
    """Items of a set are compared whole; neither they nor the items of a map may be null."""
    kind, items = schema.get("x-kubernetes-list-type"), schema.get("items") or {}
    if kind not in (None, "atomic", "set", "map"):
        causes.append(not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "set", "map")))
    if kind in ("set", "map") and items.get("nullable"):
        text = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        causes.append(forbidden(f"{path}.items.nullable", text))
    if kind != "set":
        return
    text = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type, map_type = items.get("x-kubernetes-list-type"), items.get("x-kubernetes-map-type")
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        causes.append(invalid(f"{path}.items.x-kubernetes-list-type", list_type, text))
    if items.get("type") == "object" and map_type != "atomic":
        shown = "null" if list_type is None else f'"{list_type}"'  # Kubernetes shows the other field's value
        message = f"Invalid value: {shown}: {text}"
        causes.append(Cause(f"{path}.items.x-kubernetes-map-type", "FieldValueInvalid", message))


def _list_type(schema: Schema, path: str, causes: list[Cause]) -> None:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    items = schema.get("items") or {}
    here = f"{path}.x-kubernetes-list-map-keys"
    if kind is not None and schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        causes.append(invalid(f"{path}.type", schema.get("type", ""), text))
    if keys and kind != "map":
        text, at = "must be map if x-kubernetes-list-map-keys is non-empty", f"{path}.x-kubernetes-list-type"
        causes.append(required(at, text) if kind is None else invalid(at, kind, text))
    if kind != "map":
        return
    if not keys:
        causes.append(required(here, "must not be empty if x-kubernetes-list-type is map"))
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        causes.append(invalid(f"{path}.items.type", items.get("type", ""), text))
    properties = items.get("properties") or {}
    if items.get("type") != "object":
        return
    for index, key in enumerate(keys or ()):
        if key in (keys or ())[:index]:
            causes.append(invalid(here, keys, "must not contain duplicate entries"))
        if key not in properties:
            causes.append(invalid(here, keys, "entries must all be names of item properties"))
            continue
        if properties[key].get("type") in ("array", "object"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            causes.append(invalid(f"{path}.items.properties[{key}].type", items.get("type"), text))
        if properties[key].get("nullable"):
            text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            causes.append(forbidden(f"{path}.items.properties[{key}].nullable", text))
        if key not in (items.get("required") or ()) and "default" not in properties[key]:
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
        except PatternError as error:
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
    """Every field and item that a junctor of the root restricts must be named outside of it as well."""
    for junctor in JUNCTORS:
        for index, branch in enumerate(schema.get(junctor) or ()):
            _covered(branch, outer, f"{path}.{junctor}[{index}]", path, causes)
    if isinstance(schema.get("not"), dict):
        _covered(schema["not"], outer, f"{path}.not", path, causes)


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
