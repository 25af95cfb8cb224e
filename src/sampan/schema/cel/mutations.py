"""What expressions of mutations make: ``Object{…}`` to merge, ``JSONPatch{…}`` operations; and those as plain JSON.

Types are named after the path of the field (``Object.spec.template``) and not looked up in a schema; merging the result
finds what does not fit. Source: KEP-3962; apiserver pkg/cel/mutation.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sampan.schema.cel import types
from sampan.schema.cel.conversions import TO_STRING
from sampan.schema.cel.declared import Declared, Field, object_of, scalar
from sampan.schema.cel.types import list_of, object_type
from sampan.schema.cel.values import Duration, ObjectValue, Timestamp, Uint, type_name

if TYPE_CHECKING:
    from sampan.schema.types import Type

OBJECT = "Object"
PATCH = "JSONPatch"
STRING, ANY = scalar(types.STRING, 2), scalar(types.DYN, 1)
PATCH_TYPE = object_of(
    PATCH, {"op": ("op", STRING), "path": ("path", STRING), "from": ("from", STRING), "value": ("value", ANY)}
)
OBJECT_TYPE = object_type(OBJECT)
PATCHES_TYPE = list_of(object_type(PATCH))


class MutationError(ValueError):
    """What an expression made cannot be applied."""


class _AnyFields(Declared):
    """A type whose fields are whatever is asked for."""

    __slots__ = ()

    def field(self, name: str) -> Field | None:
        return Field(name, ANY)


def resolve(name: str) -> Declared | None:
    """Return the type of a name in expressions of mutations."""
    if name == PATCH:
        return PATCH_TYPE
    return _AnyFields(object_type(name)) if name == OBJECT or name.startswith(f"{OBJECT}.") else None


def misnamed(value: Any, path: str = OBJECT) -> Iterator[str]:
    """Yield what is wrong with the names of the objects in a value: each must be named after its place."""
    if isinstance(value, ObjectValue):
        if value.type_name != path:
            where = "which matches field name path from root Object type"
            yield f'unexpected type name "{value.type_name}", expected "{path}", {where}'
        for key, item in value.items():
            yield from misnamed(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from misnamed(item, path)
    elif isinstance(value, dict):
        for item in value.values():
            yield from misnamed(item, path)


def as_json(value: Any) -> Any:
    """Return a CEL value as JSON. Raises ``MutationError``."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is Uint:
        return int(value)
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind in (Timestamp, Duration):
        return TO_STRING[kind](value)
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        if any(type(key) is not str for key in value):
            raise MutationError("map keys must be strings")
        return {key: as_json(item) for key, item in value.items()}
    raise MutationError(f"a value of type {type_name(value)} cannot be part of an object")


def configuration(value: Any) -> dict[str, Any]:
    """Return the object that an ApplyConfiguration expression made. Raises ``MutationError``."""
    if not isinstance(value, ObjectValue):
        raise MutationError(f"unsupported return type from ApplyConfiguration expression: {type_name(value)}")
    wrong = list(misnamed(value))
    if wrong:
        raise MutationError("type mismatch: " + "\n".join(wrong))
    made: dict[str, Any] = as_json(value)
    return made


def operations(value: Any) -> list[dict[str, Any]]:
    """Return the operations that a JSONPatch expression made. Raises ``MutationError``."""
    if not isinstance(value, list):
        raise MutationError("type mismatch: JSONPatchType.expression should evaluate to array")
    found = []
    for item in value:
        if not isinstance(item, ObjectValue) or item.type_name != PATCH:
            why = "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of "
            raise MutationError(why + type_name(item))
        inner = item.get("value")
        wrong = list(misnamed(inner)) if isinstance(inner, ObjectValue) else []
        if wrong:
            raise MutationError("type mismatch: " + "\n".join(wrong))
        found.append(as_json(item))
    return found


def atomics(type: Type | None, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths in a configuration that only can be replaced whole, which a configuration may not do."""
    if type is None:
        return
    if isinstance(value, dict):
        if type.atomic and path:
            yield path
        for key, item in value.items():
            yield from atomics(type.child(key), item, f"{path}.{key}")
    elif isinstance(value, list) and type.shape == "list":
        if type.list_type == "atomic":
            yield path
        for index, item in enumerate(value):
            yield from atomics(type.element, item, f"{path}[{index}]")
