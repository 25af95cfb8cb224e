"""Where a text may be cut so that its parts have no half of a secret: a half would not be known as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sampan.logs.joining.cutting import LOOK_BYTES, CutAt


def between_secrets(patterns: Sequence[Any], may_have: Callable[[bytes], bool]) -> CutAt:
    """Return what finds the place: before every match of a pattern that goes on behind it. What is longer than ``LOOK_BYTES``
    is cut."""

    def cut_at(text: bytes, at: int) -> int:
        low = max(at - LOOK_BYTES, 0)
        window = text[low : at + LOOK_BYTES]
        if not may_have(window):
            return at
        spans = [found.span() for pattern in patterns for found in pattern.finditer(window)]
        place, before = at - low, -1
        while place != before:
            before = place
            place = min((start for start, end in spans if start < place < end), default=place)
        return low + place if place else at

    return cut_at
