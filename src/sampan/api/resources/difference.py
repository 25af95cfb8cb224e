"""What differs between two objects, line by line: the end of the messages that refuse a change.

Kubernetes shows a diff of its Go structs there, which is no format anybody reads by program; ours names fields as users
write them, removed lines with ``-`` and added ones with ``+``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson


def changed(old: Any, new: Any) -> str:
    """Return the lines, "" where nothing differs (missing and empty are the same)."""
    return "\n".join(lines("", old, new))


def same(old: Any, new: Any) -> bool:
    """Whether two values are equal when missing and empty are the same (``apiequality.Semantic``)."""
    return old == new or next(lines("", old, new), None) is None


def lines(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new or (empty(old) and empty(new)):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from lines(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from lines(f"{path}[{index}]", before, after)
    else:
        if not empty(old):
            yield f"- {path}: {orjson.dumps(old).decode()}"
        if not empty(new):
            yield f"+ {path}: {orjson.dumps(new).decode()}"


def empty(value: Any) -> bool:
    return value is None or value == {} or value == []
