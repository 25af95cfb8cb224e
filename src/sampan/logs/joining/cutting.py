"""Where what is over a record's limits may be cut: never within a character, nor within what must stay together (a secret
that is to be found by ``redact``). For that some of the text behind the cut must be there: it is held back for the next part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

CutAt = Callable[[bytes, int], int]
"""Of a text, and where it would be cut: where it may be cut, at that place or before it."""
LOOK_BYTES = 64 << 10
"""So much behind a cut is looked at; what must stay together and is longer than that may be cut."""
LOOK_LINES = 8
"""Of a record of many lines so many are held back."""


def whole_characters(text: bytes, at: int) -> int:
    """Return where the character of UTF-8 begins that ``at`` would cut, or ``at``."""
    for back in range(1, min(at, 3) + 1):
        byte = text[at - back]
        if byte & 0xC0 == 0x80:
            continue
        size = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return at - back if size > back else at
    return at


def lines_before_cut(lines: Sequence[bytes], cut_at: CutAt | None) -> int:
    """Return how many lines of a record may go out as a part of it, the rest being in the next one: all if nothing else can
    be, or there is nothing that must stay together."""
    if cut_at is None or len(lines) < 4 * LOOK_LINES:
        return len(lines)
    ends = list(accumulate(len(line) + 1 for line in lines))
    looked = len(lines) - LOOK_LINES
    text = b"\n".join(lines)
    count = looked
    while count and (at := cut_at(text, ends[count - 1])) < ends[count - 1]:
        while count and ends[count - 1] > at:
            count -= 1
    return count or len(lines)
