"""Types that a schema declares: what the checker knows of ``self`` and how large its parts may become.

``of_schema`` reads a structural schema (or an OpenAPI one with the same words) as apiserver's ``SchemaDeclType`` does:
what is not described (preserved fields, untyped items) does not exist for rules. Field names that are no identifiers are
escaped (``x-y`` is ``x__dash__y``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sampan.schema.cel import types
from sampan.schema.cel.types import Type, list_of, map_of, object_type

MAX_REQUEST_BYTES = 3 * 1024 * 1024
RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_plain = re.compile(r"[A-Za-z0-9_./-]+", re.ASCII)
_escaped = re.compile(r"__|[-./]")
_words = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
EMBEDDED = "x-kubernetes-embedded-resource"
STRING: dict[str, Any] = {"type": "string"}
TYPE_META: dict[str, Any] = {
    "apiVersion": STRING,
    "kind": STRING,
    "metadata": {"type": "object", "properties": {"name": STRING, "generateName": STRING}},
}
"""What rules at the root of an object may always use."""


def escape(name: str) -> str | None:
    """Return a property's name as an identifier, None where it cannot be one."""
    if not name or name[0].isdigit():
        return None
    if name in RESERVED:
        return f"__{name}__"
    if not _plain.fullmatch(name):
        return None
    return _escaped.sub(lambda match: _words[match[0]], name)


class Field:
    """A field of a declared object: ``key`` is its name in JSON."""

    __slots__ = ("declared", "key")

    def __init__(self, key: str, declared: Declared) -> None:
        self.key = key
        self.declared = declared

    @property
    def type(self) -> Type:
        return self.declared.type


class Declared:
    """A declared type. ``largest`` bounds its elements or characters, ``smallest`` its serialized bytes."""

    __slots__ = ("element", "fields", "key", "largest", "name", "smallest", "type")

    def __init__(self, type: Type, largest: int = 0, smallest: int = 1) -> None:
        self.type = type
        self.name = type.name
        self.largest = largest
        self.smallest = smallest
        self.key: Declared | None = None
        self.element: Declared | None = None
        self.fields: dict[str, Field] | None = None

    def field(self, name: str) -> Field | None:
        if self.fields is None:
            return None
        return self.fields.get(name) or (self.fields.get(f"__{name}__") if name in RESERVED else None)


def scalar(type: Type, smallest: int, largest: int = 0) -> Declared:
    return Declared(type, largest, smallest)


def list_type(element: Declared, largest: int) -> Declared:
    declared = Declared(list_of(element.type), largest, 2)
    declared.element = element
    return declared


def map_type(element: Declared, largest: int) -> Declared:
    declared = Declared(map_of(types.STRING, element.type), largest, 2)
    declared.key = scalar(types.STRING, 2)
    declared.element = element
    return declared


def object_of(name: str, fields: Mapping[str, tuple[str, Declared]], smallest: int = 2) -> Declared:
    """Return an object type; ``fields``: identifier → (name in JSON, type)."""
    declared = Declared(object_type(name), 0, smallest)
    declared.fields = {identifier: Field(key, type) for identifier, (key, type) in fields.items()}
    return declared


def of_schema(schema: Mapping[str, Any], name: str, root: bool = False) -> Declared | None:
    """Return the type a schema declares, None where rules cannot see it. ``name`` is given to object types; ``root``:
    the schema is of a whole object."""
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        largest = MAX_REQUEST_BYTES - 2 if longest is None else max(longest, 0) * 4
        return scalar(types.DYN, 1, largest)
    kind = schema.get("type", "")
    if kind == "array":
        return _of_array(schema, name)
    if kind == "object":
        return _of_object(schema, name, root)
    if kind == "string":
        return _of_string(schema)
    simple = {"boolean": (types.BOOL, 4), "number": (types.DOUBLE, 1), "integer": (types.INT, 1)}.get(kind)
    return scalar(*simple) if simple else None


def _child(schema: Mapping[str, Any], name: str) -> Declared | None:
    return of_schema(schema, name, root=bool(schema.get(EMBEDDED)))


def _of_array(schema: Mapping[str, Any], name: str) -> Declared | None:
    items = schema.get("items")
    element = _child(items, f"{name}.@idx") if items else None
    if element is None:
        return None
    most = schema.get("maxItems")
    return list_type(element, (MAX_REQUEST_BYTES - 2) // (element.smallest + 1) if most is None else max(most, 0))


def _of_object(schema: Mapping[str, Any], name: str, root: bool) -> Declared | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict) and not root:
        element = _child(additional, f"{name}.@elem")
        if element is None:
            return None
        most = schema.get("maxProperties")
        return map_type(element, (MAX_REQUEST_BYTES - 2) // (element.smallest + 6) if most is None else max(most, 0))
    properties = with_type_meta(schema) if root else schema.get("properties") or {}
    required = frozenset(schema.get("required") or ())
    fields: dict[str, tuple[str, Declared]] = {}
    smallest = 2
    for key, property in properties.items():
        identifier = escape(key)
        declared = _child(property, f"{name}.{identifier}")
        if declared is None:
            continue
        if identifier is not None:
            fields[identifier] = (key, declared)
        if key in required and "default" not in property:
            smallest += len(key) + declared.smallest + 4
    return object_of(name, fields, smallest)


def with_type_meta(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a whole object's schema with apiVersion, kind and what rules may see of metadata: what it
    says itself where it names name and generateName."""
    properties = schema.get("properties") or {}
    named = (properties.get("metadata") or {}).get("properties") or {}
    whole = all(
        part.get("type") == "string" for part in (properties.get("kind") or {}, properties.get("apiVersion") or {})
    )
    if whole and "name" in named and "generateName" in named:
        return dict(properties)
    return {**properties, **TYPE_META}


TIMED = {"duration": (types.DURATION, 3, 32), "date": (types.TIMESTAMP, 12, 12), "date-time": (types.TIMESTAMP, 21, 32)}
"""Formats of strings that rules see as times: type, smallest and largest size (apiserver's limits.go)."""


def _of_string(schema: Mapping[str, Any]) -> Declared:
    format, longest = schema.get("format", ""), schema.get("maxLength")
    if format in TIMED:
        return scalar(*TIMED[format])
    if format == "byte":
        return scalar(types.BYTES, 2, MAX_REQUEST_BYTES - 2 if longest is None else max(longest, 0))
    if longest is not None:
        return scalar(types.STRING, 2, max(longest, 0) * 4)
    values = schema.get("enum")
    if values:
        return scalar(types.STRING, 2, max((len(str(v).encode()) for v in values if isinstance(v, str)), default=0))
    return scalar(types.STRING, 2, MAX_REQUEST_BYTES - 2)


def objects_in(declared: Declared, found: dict[str, Declared] | None = None) -> dict[str, Declared]:
    """Return every object type under a type, by name."""
    found = {} if found is None else found
    if declared.fields is not None and declared.name not in found:
        found[declared.name] = declared
        for field in declared.fields.values():
            objects_in(field.declared, found)
    if declared.element is not None:
        objects_in(declared.element, found)
    return found
