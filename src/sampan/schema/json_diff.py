"""The JSON patch between two documents: short, and true of the first. Source: RFC 6902, RFC 6901."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.schema.patch import equal

Operation = dict[str, Any]


def json_diff(old: Any, new: Any, path: str = "") -> Iterator[Operation]:
    """Yield the operations that make ``new`` of ``old``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            where = f"{path}/{escaped(key)}"
            if key in old:
                yield from json_diff(old[key], value, where)
            else:
                yield {"op": "add", "path": where, "value": value}
        for key in old:
            if key not in new:
                yield {"op": "remove", "path": f"{path}/{escaped(key)}"}
    elif isinstance(old, list) and isinstance(new, list) and (gone := removed(old, new)) is not None:
        left = list(old)
        for index in reversed(gone):
            yield {"op": "remove", "path": f"{path}/{index}"}
            del left[index]
        for index, (before, after) in enumerate(zip(left, new, strict=False)):
            yield from json_diff(before, after, f"{path}/{index}")
        for value in new[len(left) :]:
            yield {"op": "add", "path": f"{path}/-", "value": value}
    elif not equal(old, new):
        yield {"op": "replace", "path": path, "value": new}


def removed(old: list[Any], new: list[Any]) -> list[int] | None:
    """Return which elements of a list are not in the new one, where all else kept its order; None where it did not.
    A list that did not become shorter lost none: its elements are compared one by one."""
    if len(new) >= len(old):
        return []
    gone, rest = [], list(new)
    for index, element in enumerate(old):
        if rest and equal(element, rest[0]):
            del rest[0]
        else:
            gone.append(index)
    return gone if not rest else None


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
