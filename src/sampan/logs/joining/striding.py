"""The joiner that takes many lines of a chunk at once, where each would be taken as the one before (ADR 77)."""

from __future__ import annotations

from sampan.logs.joining.joiner import MANY_TENTATIVE, LineJoiner
from sampan.logs.joining.machine import State
from sampan.logs.joining.stretch import Framing, Run, Turns

TRACEBACK_END = b"recent call last):"
"""A line that begins as records do may yet begin a trace, if it ends so."""


class Joiner(LineJoiner):
    """Joins the lines of one stream: one by one with ``take``, or of a chunk."""

    @property
    def strides(self) -> bool:
        return self._learner.settled

    def take_stretch(self, chunk: bytes, line_at: int, at: int, framing: Framing) -> int:
        """Take as many lines of a chunk from ``at`` on as need no closer look, when the line at ``line_at`` was taken; return
        where they end, ``at`` where the next line is to be taken by itself. It is as if each had been taken by itself."""
        state, beginnings = self._state, self._learner.stretch
        if state is not None:
            if state.stretch is not None and len(self._lines) - self._firm < MANY_TENTATIVE:
                at = self._take_more_of_a_trace(chunk, at, framing, *state.stretch)
            return at if beginnings is None else self._take_what_ends_a_trace(chunk, at, framing, beginnings)
        if self._id:
            return at
        if beginnings is None:
            end = self._end_of_ordinary(chunk, at, framing)
        else:
            end = self._end_of_beginnings(chunk, at, framing, beginnings)
        if end == at or end - at > self._quick_bytes:
            return at
        if beginnings is None:
            self._learner.skip(chunk.count(b"\n", at, end))
        else:
            self._learner.misses = 0
        return self._take_records(chunk, line_at, at, end, framing)

    def _take_what_ends_a_trace(self, chunk: bytes, at: int, framing: Framing, beginnings: Turns) -> int:
        """Take lines that begin records as the stream's do, after a trace that the first of them ends."""
        state = self._state
        if state is None or self._id or self._firm < len(self._lines):
            return at
        end = self._end_of_beginnings(chunk, at, framing, beginnings)
        if end == at or end - at > self._quick_bytes:
            return at
        _, line = framing.entry(chunk[at : chunk.find(b"\n", at)])
        if state.next(line) is not None:
            return at
        self._state = None
        self._learner.misses = 0
        return self._take_records(chunk, at, at, end, framing)

    def _end_of_beginnings(self, chunk: bytes, at: int, framing: Framing, beginnings: Turns) -> int:
        """Return where lines end that begin records as the stream's do."""
        end = framing.stretch(beginnings)(chunk, at).end()
        trace = chunk.find(TRACEBACK_END, at, end) if end > at else -1
        return max(chunk.rfind(b"\n", at, trace) + 1, at) if trace >= 0 else end

    def _end_of_ordinary(self, chunk: bytes, at: int, framing: Framing) -> int:
        """Return where lines end that begin records in a stream of which nothing is learned: they are of no trace, continue
        nothing, and the learner would not look at them."""
        most = self._learner.blind
        if not most:
            return at
        end = framing.stretch(self._machine.ordinary)(chunk, at).end()
        if end > at:
            word = self._machine.words.search(chunk, at, end)
            if word is not None:
                end = max(chunk.rfind(b"\n", at, word.start()) + 1, at)
        if chunk.count(b"\n", at, end) > most:
            end = at
            for _ in range(most):
                end = chunk.find(b"\n", end) + 1
        return end

    def _take_records(self, chunk: bytes, line_at: int, at: int, end: int, framing: Framing) -> int:
        """Take lines that begin records. The last one may go on: it is the open record."""
        last = chunk.rfind(b"\n", at - 1, end - 1) + 1 or at
        time, line = framing.entry(chunk[last : end - 1])
        lines, begin = self._lines, at
        if len(lines) == 1 and framing.size(self._times[0], lines[0]) == at - line_at:
            begin = line_at  # the open record is the line before, as it stands there
        elif lines:
            self._close("next")
        if begin < at:  # its overhead goes out with it
            self.overhead -= at - line_at - len(lines[0])
        self.overhead += end - last - len(line)
        if begin < last:
            self.done.append(Run(chunk[begin:last], framing))
        self._lines, self._times, self._firm, self._size = [line], [time], 1, len(line)
        self._rule = ""
        return end

    def _take_more_of_a_trace(self, chunk: bytes, at: int, framing: Framing, turns: Turns, state: State) -> int:
        end = framing.stretch(turns)(chunk, at).end()
        if end == at or self._size + end - at > self._limits.bytes:
            return at
        times, lines = framing.entries(chunk[at:end])
        if len(self._lines) + len(lines) >= self._limits.lines:
            return at
        self._times += times
        self._lines += lines
        size = sum(map(len, lines))
        self._size += size + len(lines)
        self.overhead += end - at - size
        self._state, self._firm, self._rule = state, len(self._lines), state.language
        return end
