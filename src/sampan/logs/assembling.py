"""Entries of one file to records of its streams: pieces of cut lines first, then what belongs together (``joining``).

The pieces of a long line are joined before anything else looks at it; both streams have a state of their own, so that
they may be mixed in the file in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from operator import itemgetter
from typing import Any, Protocol

import cbor2

from sampan.logs.joining import Framing, Joiner, Record, Run
from sampan.logs.joining.cutting import LOOK_BYTES, CutAt, whole_characters
from sampan.logs.reading import cri
from sampan.logs.reading.formats import FORMATS, FRAMINGS
from sampan.logs.reading.line import Line

LONGEST_LINE = 1 << 20
"""Bytes of a line that is put together from pieces; a longer one goes on in marked further records."""


class Joins(Protocol):
    """A joiner of one stream: ours, or that of a user's rule."""

    kind: str
    """Which rule it is of: what one has saved, another cannot restore."""
    done: list[Record | Run]
    overhead: int
    """Bytes around the texts of lines that ``take_stretch`` has taken apart."""
    cut_at: CutAt | None
    """Where what is over the limits may be cut, None where that does not matter."""

    @property
    def strides(self) -> bool:
        """Whether ``take_stretch`` may take many lines of a chunk at once, as a rule."""
        ...

    @property
    def open(self) -> bool: ...
    @property
    def held_bytes(self) -> int: ...
    def take(self, time: bytes, line: bytes) -> None: ...
    def take_stretch(self, chunk: bytes, line_at: int, at: int, framing: Framing) -> int: ...
    def take_piece(self, time: bytes, piece: bytes, last: bool) -> None: ...
    def flush(self, why: str = "timeout") -> None: ...
    def save(self) -> Any: ...
    def restore(self, saved: Any) -> None: ...


TEXT = itemgetter(3)
Assembled = tuple[bytes, Record | Run]
"""The stream, and a record of it or a run of them. A plain tuple: there may be one for each record."""


def single(found: Iterable[Assembled]) -> Iterator[tuple[bytes, Record]]:
    """Yield records one by one, of runs too."""
    for stream, item in found:
        if isinstance(item, Record):
            yield stream, item
        else:
            yield from zip(repeat(stream), item.records())


STRIDES_TRIED, STRIDE_BYTES = 64, 200
"""After so many lines that were taken by themselves, stretches must have had so many bytes for each; else they are given up
for the rest of a chunk."""


class Pieces:
    """A line that has not come to its end. ``over``: it is longer than the limit, and pieces of it have gone out."""

    __slots__ = ("over", "parts", "size", "time")

    def __init__(self, time: bytes) -> None:
        self.time, self.size, self.over = time, 0, False
        self.parts: list[bytes] = []


class Assembler:
    """The streams of one file. ``feed`` takes entries in the file's order and returns the records that are whole."""

    def __init__(self, make_joiner: Callable[[], Joins] = Joiner, longest_line: int = LONGEST_LINE) -> None:
        self._make, self._longest = make_joiner, longest_line
        self.joiners: dict[bytes, Joins] = {}
        self._pieces: dict[bytes, Pieces] = {}
        self._overhead = 0

    def feed(self, lines: Iterable[Line]) -> list[Assembled]:
        joiners, pieces = self.joiners, self._pieces
        for time, stream, tag, content in lines:
            if tag == b"F" and stream not in pieces:
                joiner = joiners.get(stream) or self._joiner(stream)
                joiner.take(time, content)
            else:
                self._piece(time, stream, tag == b"F", content)
        return self._done()

    def feed_chunk(self, format: str, chunk: bytes) -> list[Assembled]:
        """Take whole lines of the file."""
        if format not in FRAMINGS or not any(joiner.strides for joiner in self.joiners.values()):
            return self._feed_lines(format, chunk)
        at = self._stride(format, chunk)
        rest = chunk[at:] if at else chunk
        parts = cri.by_stream(rest) if format == "cri" and at < len(chunk) else []
        if len(parts) < 2:
            return self._feed_lines(format, rest)
        found: list[Assembled] = []
        for part in parts:  # of one stream each, whose lines may be taken many at once again
            at = self._stride(format, part)
            found += self._feed_lines(format, part[at:] if at else part)
        return found

    def _feed_lines(self, format: str, chunk: bytes) -> list[Assembled]:
        lines = FORMATS[format](chunk)
        self._overhead += len(chunk) - sum(map(len, map(TEXT, lines)))
        return self.feed(lines)

    def _stride(self, format: str, chunk: bytes) -> int:
        """Take what can be taken many lines at once, with the lines between; return where that ended."""
        entry_at, framings = FRAMINGS[format]
        joiners, pieces = self.joiners, self._pieces
        at = alone = strided = 0
        end = len(chunk)
        while at < end and (alone < STRIDES_TRIED or strided > alone * STRIDE_BYTES):
            line_at = at
            (time, stream, tag, content), at = entry_at(chunk, at)
            alone += 1
            self._overhead += at - line_at - len(content)
            if tag != b"F" or stream in pieces:
                self._piece(time, stream, tag == b"F", content)
                continue
            joiner = joiners.get(stream) or self._joiner(stream)
            joiner.take(time, content)
            if joiner.strides and (after := joiner.take_stretch(chunk, line_at, at, framings[stream])) > at:
                strided += after - at
                at = after
        return at

    def _joiner(self, stream: bytes) -> Joins:
        if stream not in self.joiners:
            self.joiners[stream] = self._make()
        return self.joiners[stream]

    def _piece(self, time: bytes, stream: bytes, last: bool, content: bytes) -> None:
        pieces = self._pieces.setdefault(stream, Pieces(time))
        pieces.parts.append(content)
        pieces.size += len(content)
        joiner = self._joiner(stream)
        look = LOOK_BYTES if joiner.cut_at is not None else 0
        if not last and pieces.size < self._longest + look:
            return
        text, rest = b"".join(pieces.parts), b""
        if not last:
            at = (joiner.cut_at or whole_characters)(text, len(text) - look)
            text, rest = text[:at], text[at:]
        if last and not pieces.over:
            joiner.take(pieces.time, text)
        else:
            joiner.take_piece(pieces.time, text, last)
        pieces.parts, pieces.size, pieces.over = [rest] if rest else [], len(rest), True
        if last:
            del self._pieces[stream]

    def flush(self, why: str = "timeout") -> list[Assembled]:
        """Return what is held. A line that has not come to its end is let go only at the ``end``."""
        if why == "end":
            for stream in list(self._pieces):
                self._piece(b"", stream, True, b"")
        for stream, joiner in self.joiners.items():
            if stream not in self._pieces:
                joiner.flush(why)
        return self._done()

    def take_overhead(self) -> int:
        """Return how many bytes there were around the texts of lines since the last time."""
        found, self._overhead = self._overhead, 0
        for joiner in self.joiners.values():
            if joiner.overhead:
                found += joiner.overhead
                joiner.overhead = 0
        return found

    @property
    def held_bytes(self) -> int:
        """Bytes of lines that are held."""
        pieces = sum(pieces.size for pieces in self._pieces.values())
        return pieces + sum(joiner.held_bytes for joiner in self.joiners.values())

    @property
    def open(self) -> bool:
        return bool(self._pieces) or any(joiner.open for joiner in self.joiners.values())

    def patience(self, seconds: float) -> float:
        """Return after how many seconds without a line records end: ``seconds``, but where a rule says otherwise."""
        return max((getattr(joiner, "timeout_seconds", seconds) for joiner in self.joiners.values()), default=seconds)

    def save(self) -> bytes:
        """Return what is held, for ``restore`` after a restart."""
        pieces = {stream: (at.time, at.parts, at.size, at.over) for stream, at in self._pieces.items()}
        return cbor2.dumps((pieces, {stream: (joiner.kind, joiner.save()) for stream, joiner in self.joiners.items()}))

    def restore(self, saved: bytes) -> None:
        pieces, joiners = cbor2.loads(saved)
        for stream, (time, parts, size, over) in pieces.items():
            at = self._pieces[stream] = Pieces(time)
            at.parts, at.size, at.over = parts, size, over
        for stream, (kind, held) in joiners.items():
            joiner = self._joiner(stream)
            if joiner.kind == kind:
                joiner.restore(held)
            else:  # another rule since the restart: what was held is taken by that
                for time, line in held[0]:
                    joiner.take(time, line)

    def _done(self) -> list[Assembled]:
        found: list[Assembled] = []
        for stream, joiner in self.joiners.items():
            if joiner.done:
                found += zip(repeat(stream), joiner.done)
                joiner.done.clear()
        return found
