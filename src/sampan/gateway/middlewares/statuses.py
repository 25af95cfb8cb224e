"""Traefik's ranges of statuses: ``["500-599", "404"]``."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.gateway.model.verdicts import Unsupported

LOWEST, HIGHEST = 100, 599


def statuses_of(ranges: Iterable[str], at: str) -> list[int]:
    """Return all statuses of some ranges. Raises ``Unsupported``."""
    found: set[int] = set()
    for text in ranges:
        first, _, last = str(text).partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise Unsupported(f"{at}: {text!r} is neither a status nor a range")
        begin, end = int(first), int(last or first)
        if not LOWEST <= begin <= end <= HIGHEST:
            raise Unsupported(f"{at}: {text!r} is not within {LOWEST}-{HIGHEST}")
        found |= set(range(begin, end + 1))
    return sorted(found)
