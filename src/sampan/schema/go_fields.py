"""The fields of Kubernetes' Go types: names, protobuf numbers, types, and whether JSON has them when they are zero.

Kept as facts in ``go_fields.txt`` (made by ``scripts/wire_table.py``, which explains the letters), of the newest version.
``api/wire.py`` reads messages by them, ``schema/zeros.py`` what Go leaves out of an object and what it always writes.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class GoField(NamedTuple):
    """One field of a Go type; see ``scripts/wire_table.py`` for the letters of ``type``."""

    name: str
    number: int
    type: str
    repeated: bool
    keyed: bool
    inline: bool
    dropped: bool
    """Left out of JSON when it is zero."""
    written: bool
    """In JSON always."""


@lru_cache(1)
def table() -> dict[str, str]:
    """Return the name of a Go type (``core/v1.Container``) → its line of the table."""
    text = Path(__file__).with_name("go_fields.txt").read_text()
    return dict(line.split(" ", 1) for line in text.splitlines())


def fields_of(name: str) -> list[GoField]:
    """Return the fields of a Go type; none of one that is not known."""
    found = []
    for entry in table().get(name, "").split():
        key, number, kind = entry.split(":")
        flag = kind[-1] if kind[-1] in "^?!" else ""
        kind = kind.removesuffix(flag)
        repeated, keyed = kind.startswith("[]"), kind.startswith("{}")
        kind = kind[2:] if repeated or keyed else kind
        found.append(GoField(key, int(number), kind, repeated, keyed, flag == "^", flag == "?", flag == "!"))
    return found
