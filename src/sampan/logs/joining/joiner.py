"""The joiner of one stream: which lines are one record.

A line joins the open record if the trace that this is in goes on (``machine.py``), if it cannot stand alone (indented, a
closing brace), or if the stream has a learned beginning of records and this is none (``learning.py``). Lines that may
belong to it, should the trace go on, are held; if it does not, they are taken anew as if they had come just now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sampan.logs.joining.cutting import CutAt, lines_before_cut
from sampan.logs.joining.languages import LANGUAGES
from sampan.logs.joining.learning import NOTHING_LEARNED, Learner
from sampan.logs.joining.machine import Entered, Machine, State
from sampan.logs.joining.record import Record, new_record
from sampan.logs.joining.signs import BULLET, CLOSER, HARMLESS, HARMLESS_BYTES, OPENER, PREFIX, near
from sampan.logs.joining.stretch import Framing, Run

BUILT_IN = Machine(LANGUAGES)
TRACEBACK_ENDS = (b"recent call last):", b"recent call last):\r")
MANY_TENTATIVE = 100
"""Lines held for a trace that may never come."""


@dataclass(frozen=True)
class Limits:
    """Of one record; what is over continues in a marked next one, nothing is cut off."""

    lines: int = 1000
    bytes: int = 1 << 20


Saved = tuple[list[tuple[bytes, bytes]], int, tuple[str, str] | None, str, int, int, str, bytes, bool, bytes, bytes]


class LineJoiner:
    """Joins the lines of one stream, and looks at each. ``done`` collects the records."""

    kind = ""

    def __init__(self, machine: Machine = BUILT_IN, limits: Limits | None = None, learns: bool = True) -> None:
        self.done: list[Record | Run] = []
        self.overhead = 0
        """Bytes around the texts of lines that ``take_stretch`` has taken apart (``account.py``)."""
        self.cut_at: CutAt | None = None
        self._learner = Learner() if learns else NOTHING_LEARNED
        self._machine, self._by_byte = machine, machine.by_byte
        self._limits = limits or Limits()
        self._quick_bytes = self._limits.bytes
        """Up to which length a line that begins a record needs no closer look."""
        self._lines: list[bytes] = []
        self._times: list[bytes] = []
        self._firm = 0
        """How many of the open record's lines are its for certain."""
        self._state: State | None = None
        self._rule = ""
        self._size = 0
        self._part = 0
        self._split = 0
        self._id = ""
        self._torn = False
        self._cut_head = b""
        """The first line of a record that goes on after a cut."""
        self._cut_time = b""
        """When the last line before the cut was written."""

    @property
    def learned(self) -> bytes:
        """The beginning of this stream's records as a regular expression, ``b""`` where none is known."""
        return self._learner.pattern

    @property
    def strides(self) -> bool:
        """Whether ``take_stretch`` may take something, as a rule."""
        return False

    @property
    def open(self) -> bool:
        """Whether lines are held that a flush would let go."""
        return bool(self._lines)

    @property
    def held_bytes(self) -> int:
        """Bytes of the lines that are held."""
        return sum(map(len, self._lines))

    def feed(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        """Take ``(time, line)`` in their order."""
        take = self.take
        for time, line in lines:
            take(time, line)

    def take(self, time: bytes, line: bytes) -> None:
        """Take one line, without its newline."""
        state = self._state
        if state is not None and self._goes_on(time, line, state):
            return
        if self._state is None:
            start = self._learner.start
            if start is not None and start.match(line) is not None and not line.endswith(TRACEBACK_ENDS):
                # most lines of most streams: a record begins, as this stream's do
                self._learner.misses = 0
                lines = self._lines
                if len(lines) == 1 and not self._id and len(line) <= self._quick_bytes:
                    self.done.append(new_record(Record, (self._times[0], lines[0], 1, "", "next", "", 0)))
                    lines[0], self._times[0], self._size, self._rule = line, time, len(line), ""
                else:
                    self._open(time, line, None)
                return
        entries = self._by_byte[line[0]] if line else None
        entered = entries.enter(line) if entries is not None else None
        if entered is not None:
            self._enter(time, line, entered)
        elif (self._lines or self._id) and (rule := self._continues(line)):
            self._rule = self._rule or rule
            self._append(time, line, None)
        else:
            self._learner.see(line)
            self._open(time, line, None)

    def take_stretch(self, chunk: bytes, line_at: int, at: int, framing: Framing) -> int:
        """Return how far lines of a chunk from ``at`` on are taken without being looked at one by one: not at all."""
        return at

    def take_piece(self, time: bytes, piece: bytes, last: bool) -> None:
        """Take a piece of a line that is over the limits; each is a part of the line's record, and what follows the last
        one goes on as if the line had come whole."""
        if self._torn:
            self._lines, self._times, self._firm, self._size = [piece], [time], 1, len(piece)
        else:
            self.take(time, piece)
        self._torn = not last
        if self._torn and self._lines:
            self._cut(len(self._lines))

    def _goes_on(self, time: bytes, line: bytes, state: State) -> bool:
        """Whether the trace of the open record has dealt with a line; where it has not, it has ended."""
        following = state.next(line)
        if following is None and (state.text or state.near) and not self._begins(line):
            following = state.text
            if (
                following is None
                and state.fits_near(line)
                and near(self._times[-1] if self._times else self._cut_time, time)
            ):
                following = state.near
        if following is not None and len(self._lines) - self._firm < MANY_TENTATIVE:
            self._append(time, line, following)
            return True
        self._state = None
        if self._firm < len(self._lines):
            self._take_anew(time, line)
            return True
        return False

    def save(self) -> Saved:
        """Return what this joiner holds, for ``restore`` of another one after a restart."""
        state = (self._state.language, self._state.name) if self._state is not None else None
        held = list(zip(self._times, self._lines, strict=True))
        return (
            held,
            self._firm,
            state,
            self._rule,
            self._part,
            self._split,
            self._id,
            self._cut_head,
            self._torn,
            self.learned,
            self._cut_time,
        )

    def restore(self, saved: Saved) -> None:
        held, self._firm, state, self._rule, self._part, self._split, self._id, self._cut_head, self._torn = saved[:9]
        learned, self._cut_time = saved[9:]
        self._times, self._lines = [time for time, _ in held], [line for _, line in held]
        self._size = sum(map(len, self._lines)) + max(len(held) - 1, 0)
        self._state = self._machine.states.get((state[0], state[1])) if state is not None else None
        self._learner.restore(learned)

    def flush(self, why: str = "timeout") -> None:
        """Let go of what is held: no more is coming for now."""
        while self._lines:
            if self._firm < len(self._lines):
                rest = self._rest()
                self._close(why)
                for time, line in rest:
                    self.take(time, line)
            else:
                self._close(why)

    def _begins(self, line: bytes) -> bool:
        """Whether a line looks like the beginning of a record of a log."""
        start = self._learner.start
        return (start is not None and start.match(line) is not None) or PREFIX.match(line) is not None

    def _enter(self, time: bytes, line: bytes, entered: Entered) -> None:
        joins = bool(self._lines or self._id) and entered.joins != "never"
        if joins and entered.joins == "error":
            joins = self._rule in ("", "indentation", "learned") and self._is_trouble(self._head())
        if joins:
            self._append(time, line, entered.state)
        else:
            self._open(time, line, entered.state)

    def _is_trouble(self, head: bytes) -> bool:
        """Whether a trace may belong to the line before it: a line of a log, and not one that says all is well."""
        return self._begins(head) and HARMLESS.search(head, 0, HARMLESS_BYTES) is None

    def _continues(self, line: bytes) -> str:
        """Return by what rule a line without a trace continues the open record, ``""`` where it does not."""
        start = self._learner.start
        if start is not None and start.match(line) is not None:
            return ""
        if line[:1] in (b" ", b"\t"):
            indented = len(line) - len(line.lstrip(b" \t"))
            head = self._head()
            if indented < len(line) and (indented > 1 or line[0] == 9) and BULLET.match(line) is None:
                return "indentation" if head[:1] not in (b" ", b"\t") else ""
        if (
            line[:1] in (b"}", b"]", b")")
            and CLOSER.match(line) is not None
            and OPENER.search(self._head()) is not None
        ):
            return "indentation"
        if start is not None and line and PREFIX.match(line) is None:
            self._learner.miss()
            return "learned" if self._learned_head() else ""
        return ""

    def _learned_head(self) -> bool:
        start = self._learner.start
        return start is not None and start.match(self._head()) is not None

    def _head(self) -> bytes:
        return self._lines[0] if self._lines and not self._part else self._cut_head

    def _open(self, time: bytes, line: bytes, state: State | None) -> None:
        lines = self._lines
        if len(lines) == 1 and not self._id:
            self.done.append(new_record(Record, (self._times[0], lines[0], 1, "", "next", "", 0)))
            self._rule = ""
        elif lines:
            self._close("next")
        elif self._id:
            self._rule, self._part, self._id = "", 0, ""
        self._lines, self._times, self._firm, self._size = [line], [time], 1, len(line)
        self._state = state
        if self._size > self._limits.bytes:
            self._cut()
        elif state is not None and state.last:
            self._close("complete")

    def _append(self, time: bytes, line: bytes, state: State | None) -> None:
        self._lines.append(line)
        self._times.append(time)
        self._size += len(line) + 1
        self._state = state
        if state is None or not state.tentative:
            self._firm = len(self._lines)
            if state is not None:
                self._rule = state.language
                if state.last:
                    self._close("complete")
                    return
        if self._size > self._limits.bytes or len(self._lines) >= self._limits.lines:
            self._cut()

    def _cut(self, count: int = 0) -> None:
        """Let go of what the open record has, or of so many lines of it, and go on with the same one."""
        state, rule, head = self._state, self._rule, self._head()
        count = count or lines_before_cut(self._lines, self.cut_at)
        lines, times = self._lines[count:], self._times[count:]
        del self._lines[count:], self._times[count:]
        self._cut_time = self._times[-1]
        self._firm = len(self._lines)
        if not self._id:
            self._split += 1
            self._id = f"{self._times[0].decode('utf-8', 'replace')}-{self._split}"
        part, identity = self._part, self._id
        self._close("limit")
        self._state, self._rule, self._part, self._id, self._cut_head = state, rule, part + 1, identity, head
        self._lines, self._times, self._firm = lines, times, len(lines)
        self._size = sum(map(len, lines)) + max(len(lines) - 1, 0)

    def _rest(self) -> list[tuple[bytes, bytes]]:
        """Take the lines off the open record that are not its for certain."""
        firm = self._firm
        rest = list(zip(self._times[firm:], self._lines[firm:], strict=True))
        del self._lines[firm:], self._times[firm:]
        self._state = None
        return rest

    def _take_anew(self, time: bytes, line: bytes) -> None:
        """The trace did not go on: what was held for it was not its."""
        rest = self._rest()
        self._close("next")
        for earlier_time, earlier in rest:
            self.take(earlier_time, earlier)
        self.take(time, line)

    def _close(self, why: str) -> None:
        lines = self._lines
        if lines:
            rule = self._rule if len(lines) > 1 else ""
            text = lines[0] if len(lines) == 1 else b"\n".join(lines)
            self.done.append(Record(self._times[0], text, len(lines), rule, why, self._id, self._part))
        self._lines, self._times, self._firm, self._size = [], [], 0, 0
        self._state, self._rule, self._part, self._id = None, "", 0, ""
