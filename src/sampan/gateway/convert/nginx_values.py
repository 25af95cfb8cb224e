"""The annotations of one Ingress as text, numbers, sizes and lists (nginx's own forms), and notes on them by name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.gateway.convert.notes import Notes
from sampan.schema.objects import Object

SIZE = re.compile(r"(\d+)([kKmMgG]?)")
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class BadValue(ValueError):
    """An annotation's value has no counterpart, or is none."""


class Annotations:
    """Iterates over the names without their prefix; ``values[name]`` is the trimmed text, ``""`` where it is not set."""

    def __init__(self, obj: Object, prefix: str, notes: Notes) -> None:
        found = obj["metadata"].get("annotations") or {}
        self._prefix, self._notes = prefix, notes
        self.namespace = str(obj["metadata"].get("namespace") or "")
        self.owner = str(obj["metadata"]["name"])
        self.source = obj
        self._values = {
            key.removeprefix(prefix): str(value).strip() for key, value in found.items() if key.startswith(prefix)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, "")

    def flag(self, name: str, default: bool = False) -> bool:
        value = self[name].lower()
        if value not in ("true", "false", ""):
            raise BadValue(f'"{self[name]}" is neither "true" nor "false"')
        return value == "true" if value else default

    def words(self, name: str) -> list[str]:
        return [word.strip() for word in self[name].split(",") if word.strip()]

    def number(self, name: str, default: int = 0) -> int:
        if not self[name]:
            return default
        if not self[name].isdecimal():
            raise BadValue(f'"{self[name]}" is no number')
        return int(self[name])

    def bytes(self, name: str) -> int:
        """Return a size in bytes; nginx writes ``8m``."""
        found = SIZE.fullmatch(self[name])
        if found is None:
            raise BadValue(f'"{self[name]}" is no size')
        return int(found[1]) * UNITS[found[2].lower()]

    def changed(self, name: str, text: str) -> None:
        self._notes.changed(f"metadata.annotations[{self._prefix}{name}]", text)

    def lost(self, name: str, text: str) -> None:
        self._notes.lost(f"metadata.annotations[{self._prefix}{name}]", text)
