"""What a value of a custom resource was before: found by its place, items of map lists by their keys. Pure.

Who was there before and has not changed is forgiven what a schema has against it now (KEP-4008, ratcheting).
Source: apiserver pkg/cel/common (CorrelatedObject), apiextensions-apiserver pkg/apiserver/validation/ratcheting.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

TYPE_META = ("apiVersion", "kind")


def same(schema: Mapping[str, Any], new: Any, old: Any) -> bool:
    """Whether nothing has changed, as far as the schema describes it; the order of a map list is no change."""
    if new is None or old is None:
        return new is None and old is None
    if isinstance(new, list) and isinstance(old, list):
        keys = map_keys(schema)
        if not keys:
            return new == old
        items = schema.get("items") or {}
        pairs = [(item, old_item(keys, item, old)) for item in new]
        return len(new) == len(old) and all(found is not None and same(items, item, found) for item, found in pairs)
    if isinstance(new, dict) and isinstance(old, dict):
        return new.keys() == old.keys() and all(_same_field(schema, key, value, old[key]) for key, value in new.items())
    return bool(new == old)


def _same_field(schema: Mapping[str, Any], key: str, new: Any, old: Any) -> bool:
    below = (schema.get("properties") or {}).get(key)
    if below is None:
        below = schema.get("additionalProperties")
    return isinstance(below, dict) and same(below, new, old)


def map_keys(schema: Mapping[str, Any]) -> tuple[str, ...]:
    by_keys = schema.get("x-kubernetes-list-type") == "map"
    return tuple(schema.get("x-kubernetes-list-map-keys") or ()) if by_keys else ()


def old_item(keys: tuple[str, ...], item: Any, old: Any) -> Any:
    """Return the item of an old list with the keys of ``item``; None where there is none or no keys."""
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return None
    wanted = [item.get(key) for key in keys]
    return next((one for one in old if isinstance(one, dict) and [one.get(key) for key in keys] == wanted), None)


class Place(NamedTuple):
    """A value in an object, what it was before, and the schema of both."""

    schema: Mapping[str, Any]
    new: Any
    old: Any


def unchanged(field: str, schema: Mapping[str, Any], new: Any, old: Any) -> bool:
    """Whether what a cause is about, or something around it, is as it was before. ``field``: the cause's path."""
    place, rest = Place(schema, new, old), field
    while not same(*place):
        step = next_step(place.new, rest)
        below = None if step is None else under(place, step[0], root=rest == field)
        if step is None or below is None:
            return False
        place, rest = below, step[1]
    return True


def next_step(value: Any, path: str) -> tuple[str | int, str] | None:
    """Return the first key or index of a path in a value, and the rest of the path; None where it ends here, or names
    what is not there (a missing field is its object's affair)."""
    if isinstance(value, list):
        index, bracket, rest = path.removeprefix("[").partition("]")
        return (int(index), rest) if bracket and index.isdigit() and int(index) < len(value) else None
    if not isinstance(value, dict):
        return None
    bare = path.removeprefix(".")
    for key in sorted(value, key=len, reverse=True):  # keys may hold dots
        for written in (key, f"[{key}]"):
            after = bare[len(written) :]
            if bare.startswith(written) and (not after or after[0] in ".["):
                return key, after
    return None


def under(place: Place, step: str | int, *, root: bool) -> Place | None:
    """Return the place of a field or an item; None where its past is not known."""
    if isinstance(step, int):
        found = old_item(map_keys(place.schema), place.new[step], place.old)
        return None if found is None else Place(place.schema.get("items") or {}, place.new[step], found)
    if not isinstance(place.old, dict) or step not in place.old or (root and step in TYPE_META):
        return None
    below = (place.schema.get("properties") or {}).get(step, place.schema.get("additionalProperties"))
    return Place(below if isinstance(below, dict) else {}, place.new[step], place.old[step])
