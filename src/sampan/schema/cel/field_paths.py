"""``fieldPath`` of a rule: ``.spec.x``, ``.labels['a.b']`` — names only, each of which the schema must know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_part = re.compile(r"\.([^.\[\]']+)|\['((?:[^'\\]|\\.)*)'\]", re.DOTALL)
_escaped = re.compile(r"\\(.)", re.DOTALL)
_plain = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


def field_path(text: str, schema: Mapping[str, Any]) -> str | None:
    """Return the path as causes show it (``spec.x``, ``labels[a.b]``), None where the schema has no such field."""
    position, shown = 0, ""
    while position < len(text):
        match = _part.match(text, position)
        if match is None:
            return None
        name = match[1] if match[1] is not None else _unescaped(match[2])
        if name is None:
            return None
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if properties is not None:
            if name not in properties:
                return None
            shown += f".{name}" if shown else name
            schema = properties[name]
        elif isinstance(more, dict):
            shown += f"[{name}]"
            schema = more
        else:
            return None
        position = match.end()
    return shown


def _unescaped(text: str) -> str | None:
    if any(match[1] not in _plain for match in _escaped.finditer(text)):
        return None
    return _escaped.sub(lambda match: _plain[match[1]], text)
