"""The types of expressions: kinds with a name and parameters, and how cel-go writes them in messages.

A declared object type (``kind == "object"``) is known by its name; its fields are in the environment's declarations.
"""

from __future__ import annotations

from typing import NamedTuple


class Type(NamedTuple):
    """``kind`` is bool, int, uint, double, string, bytes, null, dyn, error, timestamp, duration, list, map, type,
    object, opaque or param."""

    kind: str
    name: str
    params: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return shown(self)


BOOL = Type("bool", "bool")
INT = Type("int", "int")
UINT = Type("uint", "uint")
DOUBLE = Type("double", "double")
STRING = Type("string", "string")
BYTES = Type("bytes", "bytes")
NULL = Type("null", "null_type")
DYN = Type("dyn", "dyn")
ERROR = Type("error", "error")
TIMESTAMP = Type("timestamp", "google.protobuf.Timestamp")
DURATION = Type("duration", "google.protobuf.Duration")

SCALARS = frozenset(("bool", "double", "duration", "int", "timestamp", "uint"))


def list_of(element: Type) -> Type:
    return Type("list", "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "map", (key, value))


def optional_of(value: Type) -> Type:
    return Type("opaque", "optional_type", (value,))


def type_of(type: Type | None = None) -> Type:
    return Type("type", "type", (type,) if type is not None else ())


def param(name: str) -> Type:
    return Type("param", name)


def object_type(name: str) -> Type:
    return Type("object", name)


def opaque(name: str) -> Type:
    return Type("opaque", name)


def is_optional(type: Type) -> bool:
    return type.kind == "opaque" and type.name == "optional_type"


def unwrap_optional(type: Type) -> tuple[Type, bool]:
    return (type.params[0], True) if is_optional(type) else (type, False)


def shown(type: Type) -> str:
    """Return a type as the checker's messages write it: ``map(string, list(int))``."""
    if type.kind in ("timestamp", "duration", "null"):
        return type.kind
    if type.kind == "error":
        return "!error!"
    if not type.params:
        return type.name
    return f"{type.name}({', '.join(shown(item) for item in type.params)})"


def signature(args: list[Type], member: bool) -> str:
    """Return ``(int, string)``, or ``string.(int)`` for a method."""
    target, rest = (shown(args[0]) + ".", args[1:]) if member else ("", args)
    return f"{target}({', '.join(shown(item) for item in rest)})"
