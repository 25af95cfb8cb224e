"""Secrets in a text: one look whether there may be any, then each kind by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from sampan.logs.linear import compiled
from sampan.logs.processing.draft import Tally

NAMED_GROUP = re.compile(rb"\(\?P?<\w+>")
"""Names may be in one pattern once."""
Replace = Callable[[bytes], bytes]


def gate_of(patterns: list[bytes]) -> Callable[[bytes], bool]:
    """Return what tells whether any of them may match: most texts have no secret, and are looked at once."""
    try:
        gate = compiled(b"|".join(b"(?:%b)" % NAMED_GROUP.sub(b"(?:", pattern) for pattern in patterns))
    except re2.error:  # too large together, say
        return lambda text: True
    return lambda text: gate.search(text) is not None


def all_of(replaces: list[Replace], may_have: Callable[[bytes], bool]) -> Replace:
    def redact(text: bytes) -> bytes:
        if may_have(text):
            for replace in replaces:
                text = replace(text)
        return text

    return redact


def replacing(
    pattern: Any, group: int, check: Callable[[bytes], bool] | None, replacement: bytes, name: str, tally: Tally
) -> Replace:
    """Return what replaces a group of each match; a text without one comes back as it is, the same object."""

    def replace(text: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        for found in pattern.finditer(text):
            which = group if group >= 0 else found.lastindex or 0
            start, end = found.span(which)
            if start < 0 or (check is not None and not check(text[start:end])):
                continue
            parts += (text[at:start], replacement)
            at = end
        if not parts:
            return text
        tally[name] += len(parts) // 2
        return b"".join((*parts, text[at:]))

    return replace
