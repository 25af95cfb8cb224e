"""JSON as rules see it: what a schema calls a number, a time, bytes or a set becomes that, and the rest stays as it is.

``converter`` gives a function that makes the value for ``self``, or None where JSON is already right, which is the usual
case and costs nothing. Source: apiserver pkg/cel/common/valuesunstructured.go.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any

from sampan.schema.cel.conversions import parse_duration, parse_timestamp
from sampan.schema.cel.declared import EMBEDDED, with_type_meta
from sampan.schema.cel.values import Duration, MapList, SetList

Convert = Callable[[Any], Any]


def converter(schema: Mapping[str, Any], root: bool = False) -> Convert | None:
    """Return how a schema's values are made of JSON; None: they are JSON. What does not fit stays as it is."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    kind = schema.get("type", "")
    if kind == "array":
        return _of_list(schema)
    if kind == "object":
        return _of_object(schema, root)
    if kind == "number":
        return _number
    return TIMES.get(schema.get("format", "")) if kind == "string" else None


def _child(schema: Mapping[str, Any]) -> Convert | None:
    return converter(schema, root=bool(schema.get(EMBEDDED)))


def _number(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _time(value: Any) -> Any:
    found = parse_timestamp(value) if isinstance(value, str) else None
    return value if found is None else found


def _date(value: Any) -> Any:
    return _time(f"{value}T00:00:00Z") if isinstance(value, str) else value


def _duration(value: Any) -> Any:
    nanos = parse_duration(value) if isinstance(value, str) else None
    return value if nanos is None else Duration(nanos)


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return value


TIMES: dict[str, Convert] = {"date-time": _time, "date": _date, "duration": _duration, "byte": _bytes}


def _of_list(schema: Mapping[str, Any]) -> Convert | None:
    items = schema.get("items")
    each = _child(items) if isinstance(items, dict) else None
    list_type = schema.get("x-kubernetes-list-type")
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if each is None and list_type not in ("set", "map"):
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        found = value if each is None else [each(item) for item in value]
        return SetList(found) if list_type == "set" else MapList(found, keys) if list_type == "map" else found

    return convert


def _of_object(schema: Mapping[str, Any], root: bool) -> Convert | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict) and not root:
        each = _child(additional)
        if each is None:
            return None

        def convert_map(value: Any) -> Any:
            return {key: each(item) for key, item in value.items()} if isinstance(value, dict) else value

        return convert_map
    properties = with_type_meta(schema) if root else schema.get("properties") or {}
    made = {key: convert for key, child in properties.items() if (convert := _child(child)) is not None}
    nullable = [key for key, child in properties.items() if child.get("nullable")]
    if not made and not nullable:
        return None

    def convert_object(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = {key: convert(value[key]) for key, convert in made.items() if key in value}
        value = {**value, **changed} if changed else value
        if any(key in value and value[key] is None for key in nullable):
            return {key: item for key, item in value.items() if item is not None}  # a null field is as if absent
        return value

    return convert_object
