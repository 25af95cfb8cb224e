"""Many lines of a file at once: how they stand in it, and records of one line each that are kept as they stand there.

Most lines of most logs begin a record as their stream's do, or are one more frame of a trace. One expression finds how far
such lines go on, and no Python runs for each of them (ADR 77).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sampan.logs.joining.record import Record, new_record

Matches = Callable[[bytes, int], "re.Match[bytes]"]


class Turns:
    """What a stretch consists of: patterns of lines that follow one another, in one way or another. It is compiled once for
    each head."""

    __slots__ = ("matches", "patterns", "times")

    def __init__(self, patterns: tuple[tuple[bytes, ...], ...], most: int = 0) -> None:
        """``most``: how many turns there may be, 0 for any number."""
        self.patterns, self.times = patterns, b"{0,%d}+" % most if most else b"*+"
        self.matches: dict[bytes, Matches] = {}

    def compile(self, head: bytes) -> Matches:
        prefix = rb"\S++" + re.escape(head) if head else b""
        each = (b"".join(rb"%b(?:%b)[^\n]*+\n" % (prefix, pattern) for pattern in turn) for turn in self.patterns)
        found: Matches = re.compile(rb"(?:%b)%b" % (b"|".join(each), self.times)).match  # type: ignore[assignment]  # it always matches
        self.matches[head] = found
        return found


class Framing:
    """How the lines of a stream stand in a file."""

    __slots__ = ("_more", "head")

    def __init__(self, head: bytes) -> None:
        self.head = head
        """What stands between a line's time and its text; ``b""`` where a line is its text and has no time."""
        self._more = len(head) + 1

    def stretch(self, turns: Turns) -> Matches:
        """Return what matches as many lines, from a line's beginning on, as there are whose texts begin with the patterns of
        one of the turns after the other."""
        return turns.matches.get(self.head) or turns.compile(self.head)

    def size(self, time: bytes, text: bytes) -> int:
        """Return how many bytes a line has in the file, if it is as most are."""
        return len(time) + len(text) + self._more

    def entry(self, line: bytes) -> tuple[bytes, bytes]:
        """Return time and text of a line, without its newline, that a stretch has found."""
        if not self.head:
            return b"", line.removesuffix(b"\r")
        time, _, text = line.partition(self.head)
        return time, text

    def entries(self, lines: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the times and the texts of whole lines that a stretch has found."""
        head = self.head
        if not head:
            texts = lines.replace(b"\r\n", b"\n").split(b"\n")
            del texts[-1]
            return [b""] * len(texts), texts
        if lines.count(head) == lines.count(b"\n"):
            parts = lines.replace(b"\n", head).split(head)
            del parts[-1]
            return parts[::2], parts[1::2]
        found = [line.partition(head) for line in lines.split(b"\n")[:-1]]
        return [time for time, _, _ in found], [text for _, _, text in found]


class Run:
    """Records of one line each that follow one another on a stream: the lines of a file that they are."""

    __slots__ = ("_entries", "framing", "lines", "raw")

    def __init__(self, raw: bytes, framing: Framing) -> None:
        self.raw, self.framing = raw, framing
        self.lines = raw.count(b"\n")
        self._entries: tuple[list[bytes], list[bytes]] | None = None

    @property
    def entries(self) -> tuple[list[bytes], list[bytes]]:
        """Times and texts."""
        if self._entries is None:
            self._entries = self.framing.entries(self.raw)
        return self._entries

    def halves(self) -> tuple[Run, Run]:
        """Return a run of more than one line in two."""
        middle = self.raw.index(b"\n", len(self.raw) // 2) + 1
        if middle == len(self.raw):
            middle = self.raw.rindex(b"\n", 0, len(self.raw) - 1) + 1
        return Run(self.raw[:middle], self.framing), Run(self.raw[middle:], self.framing)

    def records(self) -> list[Record]:
        """Return the records one by one."""
        return [
            new_record(Record, (time, text, 1, "", "next", "", 0)) for time, text in zip(*self.entries, strict=True)
        ]
