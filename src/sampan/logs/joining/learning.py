"""What the records of a stream begin with, learned from its own lines.

Each line that starts a record (as far as is known) is taken to the shape of its first tokens: digits, letters, signs.
When nine of ten agree in a beginning that says something (numbers with signs between, as dates have, or a level in
brackets), that beginning is the stream's start: what does not begin so continues. A stream that stops to agree is
unlearned.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from sampan.logs.joining.stretch import Turns

TOKEN = re.compile(rb"\d+|[A-Za-z]+|\s+|.", re.DOTALL)
TOKENS = 16
HEAD_BYTES = 48
ENOUGH_LINES = 12
AGREE = 0.9
MOST_LINES = 400
SHARED = 256
"""Beginnings that several streams may have: what is compiled of them is kept once."""
SAMPLE = 64
"""A stream whose lines have nothing in common after ``MOST_LINES`` is looked at once in so many lines."""


def shape_of(line: bytes) -> tuple[bytes, ...]:
    """Return the kinds of a line's first tokens: ``d`` digits, ``a`` letters, a blank, or the sign itself."""
    return tuple(kind_of(token) for token in TOKEN.findall(line[:HEAD_BYTES])[:TOKENS])


def kind_of(token: bytes) -> bytes:
    first = token[:1]
    return b"d" if first.isdigit() else b"a" if first.isalpha() else b" " if first.isspace() else b"=" + token


def says_something(shape: tuple[bytes, ...]) -> bool:
    """Whether a beginning is telling enough: three numbers with signs between, ``I0102 10:``, a level in brackets, ``{"``."""
    digits = shape.count(b"d")
    signs = sum(1 for kind in shape if kind.startswith(b"="))
    if digits >= 3 and signs >= 2:
        return True
    return shape[:2] in ((b"={", b'="'), (b"=[", b"a")) and (shape[0] == b"={" or b"=]" in shape)


def pattern_of(shape: tuple[bytes, ...]) -> bytes:
    """Return the expression of a beginning."""
    words = {b"d": rb"\d+", b"a": b"[A-Za-z]+", b" ": rb"\s+"}
    return b"".join(words.get(kind) or re.escape(kind[1:]) for kind in shape)


class Learner:
    """Learns one stream. ``start`` matches the beginning of a record, None while none is known; ``pattern`` is its text, and
    ``stretch`` the same for lines that have their ends."""

    __slots__ = ("_due", "_shapes", "_total", "misses", "pattern", "start", "stretch")

    def __init__(self) -> None:
        self._shapes: Counter[tuple[bytes, ...]] = Counter()
        self._total = self.misses = 0
        self._due = ENOUGH_LINES
        self.start: re.Pattern[bytes] | None = None
        self.pattern = b""
        self.stretch: Turns | None = None

    def see(self, line: bytes) -> None:
        """Take a line that begins a record, as far as is known. What is learned is not learned again."""
        if self.start is not None:
            self.misses = 0
            return
        if self._total >= MOST_LINES and self._total % SAMPLE:
            self._total += 1
            return
        self._shapes[shape_of(line)] += 1
        self._total += 1
        if self._total >= self._due:
            self._due = self._total * 2
            self._conclude()

    @property
    def blind(self) -> int:
        """How many lines it will not look at."""
        if self.start is not None or self._total < MOST_LINES:
            return 0
        return -self._total % SAMPLE

    def skip(self, lines: int) -> None:
        """Take in that so many lines, which it would not have looked at, began records."""
        self._total += lines

    @property
    def settled(self) -> bool:
        """Whether it has learned something, or will not look at most lines."""
        return self.start is not None or self._total >= MOST_LINES

    def restore(self, pattern: bytes) -> None:
        """Take what is learned, or was before a restart."""
        self.pattern, self.start = pattern, re.compile(pattern) if pattern else None
        self.stretch = turns_of(pattern) if pattern and b"\n" not in pattern else None

    def miss(self) -> None:
        """Take in that a line did not begin as records do. Many in a row: the stream has changed."""
        self.misses += 1
        if self.misses > 10 * ENOUGH_LINES:
            self.restore(b"")
            self._shapes.clear()
            self._total = self.misses = 0
            self._due = ENOUGH_LINES

    def _conclude(self) -> None:
        found = without_words(common(self._shapes, sum(self._shapes.values())))
        pattern = pattern_of(found) if says_something(found) else b""
        if pattern != self.pattern:
            self.restore(pattern)


def common(shapes: Counter[tuple[bytes, ...]], total: int) -> tuple[bytes, ...]:
    """Return the longest beginning that nine of ten lines share."""
    prefix: tuple[bytes, ...] = ()
    for length in range(1, TOKENS + 1):
        counts: Counter[tuple[bytes, ...]] = Counter()
        for shape, count in shapes.items():
            if len(shape) >= length:
                counts[shape[:length]] += count
        if not counts:
            break
        best, count = counts.most_common(1)[0]
        if count < AGREE * total:
            break
        prefix = best
    return prefix


def without_words(shape: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return a beginning up to its last number or sign: words after it are each record's own."""
    end = len(shape)
    while end and shape[end - 1] in (b"a", b" "):
        end -= 1
    return shape[:end]


@lru_cache(SHARED)
def turns_of(pattern: bytes) -> Turns:
    return Turns(((pattern.replace(rb"\s+", rb"[^\S\n]+"),),))


class _Nothing(Learner):
    """For streams whose rule a user has given."""

    def see(self, line: bytes) -> None:
        pass

    def restore(self, pattern: bytes) -> None:
        pass


NOTHING_LEARNED = _Nothing()
