"""What the status of an object says against it, for people who read lines and not objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.schema.objects import Object

GOOD_WHEN_FALSE = ("Conflicted", "PartiallyInvalid", "InsecureFrontendValidationMode", "OverlappingTLSConfig")
NOT_YET = ("Pending", "AddressNotAssigned")


def complaints(obj: Object, without: tuple[str, ...] = ()) -> list[str]:
    """Return one text for each condition that is not as it should be, those of parents and listeners too; none for the types
    ``without``."""
    status = obj.get("status") or {}
    parts: list[tuple[str, Any]] = [("", status)]
    parts += [(f"listener {entry['name']}: ", entry) for entry in status.get("listeners") or ()]
    for key, reference in (("parents", "parentRef"), ("ancestors", "ancestorRef")):
        parts += [(f"{entry[reference].get('name', '')}: ", entry) for entry in status.get(key) or ()]
    return list(dict.fromkeys(text for where, part in parts for text in _against(where, part, without)))


def _against(where: str, part: Any, without: tuple[str, ...]) -> Iterator[str]:
    for entry in part.get("conditions") or ():
        if entry.get("reason") in NOT_YET or entry["type"] in without:
            continue
        if (entry["status"] == "False") != (entry["type"] in GOOD_WHEN_FALSE) and entry["status"] != "Unknown":
            yield f"{where}{entry['type']}: {entry['reason']}: {entry['message']}"
