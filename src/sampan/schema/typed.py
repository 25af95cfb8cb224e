"""Whether a configuration fits its type, in the words of structured-merge-diff: what server-side apply asks first.

``misfits`` walks the configuration once, with the type beside it, and returns Kubernetes' text of what does not fit. Content
that is free (preserved unknown fields, int-or-string) fits always. Source: structured-merge-diff typed/validate.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.schema.fields import UnkeyedItem, path_element, show

if TYPE_CHECKING:
    from sampan.schema.types import Type

NUMBERS = ("int32", "int64", "float64", "integer", "number")


def misfits(type: Type, config: Any) -> str:
    """Return what does not fit, "" where all does."""
    found: list[str] = []
    _walk(type, config, "", found)
    if len(found) < 2:
        return found[0] if found else ""
    return "errors:\n" + "\n".join(f"  {line}" for line in found)


def _walk(type: Type | None, value: Any, path: str, found: list[str]) -> None:
    if type is None or value is None or type.shape == "any":
        return
    if type.shape == "scalar":
        _scalar(type, value, path, found)
    elif type.shape == "list":
        _items(type, value, path, found)
    elif not isinstance(value, dict):
        if not (type.takes_bool and isinstance(value, bool)):
            found.append(f"{path}: expected map, got &{{{go(value)}}}")
    else:
        _fields(type, value, path, found)


def _fields(type: Type, value: dict[str, Any], path: str, found: list[str]) -> None:
    if type.shape != "struct":
        for key, item in value.items():
            _walk(type.element, item, f"{path}.{key}", found)
        return
    for key, item in value.items():
        child = type.child(key)
        if child is not None:
            _walk(child, item, f"{path}.{key}", found)
        elif not keeps_unknown(type, key):
            found.append(f"{path}.{key}: field not declared in schema")


def keeps_unknown(type: Type, key: str) -> bool:
    """Whether a struct keeps a field that it does not declare."""
    return bool(
        getattr(type, "preserve", False) or (getattr(type, "embedded", False) and key in ("apiVersion", "kind"))
    )


def _items(type: Type, value: Any, path: str, found: list[str]) -> None:
    if not isinstance(value, list):
        found.append(f"{path}: expected list, got &{{{go(value)}}}")
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        here = f"{path}[{index}]"
        if type.list_type != "atomic":
            try:
                element = path_element(type, item)
            except UnkeyedItem as error:
                found.append(f"{path}: element {index}: {error}")
                continue
            here = path + show(element)
            if element in seen:
                found.append(f"{path}: duplicate entries for key {show(element)}")
                continue
            seen.add(element)
        _walk(type.element, item, here, found)


def _scalar(type: Type, value: Any, path: str, found: list[str]) -> None:
    name = type.name
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            found.append(f"{path}: expected numeric (int or float), got {GO_TYPES.get(value.__class__, 'object')}")
    elif name in ("bool", "boolean"):
        if not isinstance(value, bool):
            found.append(f"{path}: expected boolean, got {wrapped(value)}")
    elif name == "string" and not isinstance(value, str):
        found.append(f"{path}: expected string, got {wrapped(value)}")


GO_TYPES = {str: "string", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


def wrapped(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{quoted(value)}}}"


def quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else go(value)


def go(value: Any) -> str:
    """Return a value as Go's ``%v`` prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(go(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go(item)}' for key, item in sorted(value.items()))}]"
    return str(value)
