"""What a conversion has to say of its sources: one note for each field that does not come out as it went in."""

from __future__ import annotations

from typing import NamedTuple

from sampan.schema.objects import Object


class Note(NamedTuple):
    """One field of a source. ``lost``: its meaning is not in the result; otherwise it is, in another form."""

    object: str
    """Kind, namespace and name, as ``ingress/shop/web``."""
    field: str
    text: str
    lost: bool

    def __str__(self) -> str:
        return f"{self.object}: {self.field}: {'NOT CONVERTED: ' if self.lost else ''}{self.text}"


def named(obj: Object) -> str:
    metadata = obj.get("metadata") or {}
    parts = (str(obj.get("kind", "")).lower(), str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
    return "/".join(part for part in parts if part)


class Notes:
    """The notes of one source object."""

    def __init__(self, source: Object, into: list[Note]) -> None:
        self._name = named(source)
        self._into = into

    def changed(self, field: str, text: str) -> None:
        self._add(Note(self._name, field, text, False))

    def lost(self, field: str, text: str) -> None:
        self._add(Note(self._name, field, text, True))

    def _add(self, note: Note) -> None:
        if note not in self._into:  # alternatives of one rule say the same
            self._into.append(note)
