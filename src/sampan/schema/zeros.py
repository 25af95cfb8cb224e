"""What Go makes of zero values: it leaves out most that are zero, and writes some always.

An object of a built-in type goes through a Go struct on its way into the store and out of it. Of a field that is not a
pointer, Go cannot tell zero from absent: with ``omitempty`` it is gone afterwards, without it is there (``serviceName: ""``),
as is every struct (``status: {}``) and, as null, every list and time. ``clean`` takes out of what was sent what is zero;
``fill`` writes what is always there before an object is stored; ``level`` takes such zeros out of the stored object that a
new one is compared with. Source: encoding/json; the types' tags (``go_fields.txt``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.schema.go_fields import fields_of

if TYPE_CHECKING:
    from sampan.schema.types import Type

ZEROS: dict[str, Any] = {"s": "", "i": 0, "b": False, "f": 0, "q": "0", "x": 0}
Fill = Callable[[Any], None]
Undo = list[tuple[dict[str, Any], str, Any]]


class Presence(NamedTuple):
    """Of a Go struct: scalars that are left out when zero, and the zero of each field that is always written (a struct's
    is ``{}``)."""

    dropped: frozenset[str]
    written: dict[str, Any]


def presence(definition: str) -> Presence | None:
    """Return what holds for a definition (``io.k8s.api.core.v1.Container``), None where the Go type is not known."""
    parts = definition.split(".")
    fields = fields_of(f"{parts[-3]}/{parts[-2]}.{parts[-1]}") if len(parts) > 2 else []
    if not fields:
        return None
    dropped, written = set(), {}
    for field in fields:
        repeated = field.repeated or field.keyed
        if field.dropped and not repeated and "." not in field.type:
            dropped.add(field.name)
        elif field.written:
            struct = "." in field.type and not repeated
            written[field.name] = {} if struct else None if repeated else ZEROS.get(field.type)
    return Presence(frozenset(dropped), written)


def compile_filler(type: Type) -> Fill | None:
    """Return what writes the zeros that are always written into an object of a type; None where there are none below."""
    if type.shape == "struct":
        return _struct(type)
    if type.element is None:
        return None
    inner = type.element
    below = inner.filler()
    if below is None:
        return None
    return _list(below) if type.shape == "list" else _map(below)


def _struct(type: Type) -> Fill | None:
    fields = type.fields
    written = [(key, zero) for key, zero in type.written.items() if key in fields]
    nested = {key: below for key, field in fields.items() if (below := field.filler()) is not None}
    if not written and not nested:
        return None

    def fill(value: Any) -> None:
        if value.__class__ is not dict:
            return
        for key, zero in written:
            if key not in value:
                value[key] = {} if zero == {} else zero
        for key, item in value.items():
            if item.__class__ is dict or item.__class__ is list:
                below = nested.get(key)
                if below is not None:
                    below(item)

    return fill


def _list(below: Fill) -> Fill:
    def fill(value: Any) -> None:
        for item in value:
            below(item)

    return fill


def _map(below: Fill) -> Fill:
    def fill(value: Any) -> None:
        for item in value.values():
            below(item)

    return fill


def level(type: Type, new: Any, old: Any, undo: Undo) -> None:
    """Take out of an old object the zeros that are always written where the new one does not have them, and note in
    ``undo`` what was taken out of what."""
    if type.shape == "struct" and new.__class__ is dict and old.__class__ is dict:
        for key, zero in type.written.items():
            if key not in new and key in old:
                item = old[key]
                if item == zero or (zero == {} and empty(type.fields.get(key), item)):
                    undo.append((old, key, old.pop(key)))
        for key, item in old.items():
            if item.__class__ is dict or item.__class__ is list:
                field = type.fields.get(key)
                if field is not None and key in new:
                    level(field, new[key], item, undo)
    elif type.element is not None and type.shape == "list" and new.__class__ is list and old.__class__ is list:
        for one, other in zip(new, old, strict=False):
            level(type.element, one, other, undo)
    elif type.element is not None and type.shape == "map" and new.__class__ is dict and old.__class__ is dict:
        for key, item in old.items():
            if key in new:
                level(type.element, new[key], item, undo)


def refill(type: Type, obj: Any) -> None:
    """Write into an object of another version what Go always writes in this one, instead of what it wrote in that."""
    for part, inner in obj.items():
        field = type.fields.get(part)
        if inner.__class__ is dict and field is not None and field.shape == "struct":
            for key in [key for key, item in inner.items() if item is None and key not in field.fields]:
                del inner[key]
    type.fill(obj)


def restore(undo: Undo) -> None:
    """Put back what ``level`` took out."""
    for holder, key, zero in reversed(undo):
        holder[key] = zero


def empty(type: Type | None, value: Any) -> bool:
    """Whether a struct holds nothing but zeros that are always written."""
    if type is None or value.__class__ is not dict:
        return False
    return all(
        key in type.written
        and (item == type.written[key] or (type.written[key] == {} and empty(type.fields.get(key), item)))
        for key, item in value.items()
    )
