"""Lines of one stream by a user's rule. A record over the rule's limits goes on in marked further parts."""

from __future__ import annotations

from sampan.logs.joining import Framing, Limits, Record, Run
from sampan.logs.joining.cutting import CutAt, lines_before_cut
from sampan.logs.rules.rule import Rule

Saved = tuple[list[tuple[bytes, bytes]], str, int, int, str, bool]


class RuleJoiner:
    """Of the same shape as ``joining.Joiner``."""

    strides = False
    overhead = 0

    def __init__(self, rule: Rule, limits: Limits | None = None) -> None:
        self.kind = rule.name
        self.done: list[Record | Run] = []
        self.cut_at: CutAt | None = None
        self.timeout_seconds = rule.timeout_seconds
        assert rule.step is not None
        self._rule, self._step = rule, rule.step
        self._most_bytes = rule.max_bytes or (limits or Limits()).bytes
        self._held: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._state = ""
        self._part = self._split = 0
        self._id = ""
        self._torn = False

    @property
    def open(self) -> bool:
        return bool(self._held)

    @property
    def held_bytes(self) -> int:
        return sum(len(line) for _, line in self._held)

    def take(self, time: bytes, line: bytes) -> None:
        """Take one line, without its newline."""
        joins, ends, self._state = self._step(self._state, line, len(self._held))
        if not (joins and (self._held or self._id)):
            self._close("next")
            self._part, self._id = 0, ""
        self._held.append((time, line))
        self._size += len(line) + 1
        if ends:
            self._close("complete")
            self._part, self._id = 0, ""
        elif len(self._held) >= self._rule.max_lines or self._size > self._most_bytes:
            self._cut()

    def take_stretch(self, chunk: bytes, line_at: int, at: int, framing: Framing) -> int:
        return at

    def take_piece(self, time: bytes, piece: bytes, last: bool) -> None:
        """Take a piece of a line that is over the limits."""
        if self._torn:
            self._held.append((time, piece))
        else:
            self.take(time, piece)
        self._torn = not last
        if self._torn and self._held:
            self._cut(len(self._held))

    def flush(self, why: str = "timeout") -> None:
        self._close(why)
        self._state, self._part, self._id = "", 0, ""

    def _cut(self, count: int = 0) -> None:
        count = count or lines_before_cut([line for _, line in self._held], self.cut_at)
        rest = self._held[count:]
        del self._held[count:]
        if not self._id:
            self._split += 1
            self._id = f"{self._held[0][0].decode('utf-8', 'replace')}-{self._split}"
        self._close("limit")
        self._part += 1
        self._held, self._size = rest, sum(len(line) + 1 for _, line in rest)

    def _close(self, why: str) -> None:
        if self._held:
            text = b"\n".join(line for _, line in self._held)
            rule = self._rule.name if len(self._held) > 1 else ""
            self.done.append(Record(self._held[0][0], text, len(self._held), rule, why, self._id, self._part))
        self._held, self._size = [], 0

    def save(self) -> Saved:
        return (self._held, self._state, self._part, self._split, self._id, self._torn)

    def restore(self, saved: Saved) -> None:
        held, self._state, self._part, self._split, self._id, self._torn = saved
        self._held = [(time, line) for time, line in held]
        self._size = sum(len(line) + 1 for _, line in self._held)
