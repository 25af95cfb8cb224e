"""Reading nested fields of plain dicts that may miss any of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def dig(obj: Any, *keys: str) -> Any:
    """Return ``obj[k1][k2]…``, None where anything on the way is missing."""
    for key in keys:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(key)
    return obj


def text(obj: Any, *keys: str) -> str:
    """Return the field as a string, "" where it is missing."""
    found = dig(obj, *keys)
    return "" if found is None else str(found)


def items(obj: Any, *keys: str) -> list[Any]:
    """Return the list at a path, [] where it is missing."""
    found = dig(obj, *keys)
    return found if isinstance(found, list) else []


def mapping(obj: Any, *keys: str) -> dict[str, Any]:
    """Return the map at a path, {} where it is missing."""
    found = dig(obj, *keys)
    return found if isinstance(found, dict) else {}


def joined(values: Iterable[Any], separator: str = ",") -> str:
    """Return values joined, ``<none>`` where there are none."""
    return separator.join(str(value) for value in values) or "<none>"
