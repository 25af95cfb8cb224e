"""A joiner that says of every line why it is where it is."""

from __future__ import annotations

from typing import Any

from sampan.logs.joining.joiner import LineJoiner
from sampan.logs.joining.machine import State
from sampan.logs.joining.record import Record


class Explaining(LineJoiner):
    """``explained[n]`` are the reasons for the lines of ``done[n]``: ``begins``, a state of a language, a rule."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._quick_bytes = -1  # every line is looked at
        self.explained: list[list[str]] = []
        self._reasons: list[str] = []

    def _append(self, time: bytes, line: bytes, state: State | None) -> None:
        self._reasons.append(repr(state) if state is not None else self._rule)
        super()._append(time, line, state)

    def _open(self, time: bytes, line: bytes, state: State | None) -> None:
        if self._lines:
            self._close("next")
        self._reasons = [f"begins {state!r}" if state is not None else "begins"]
        super()._open(time, line, state)

    def _rest(self) -> list[tuple[bytes, bytes]]:
        del self._reasons[self._firm :]
        return super()._rest()

    def _close(self, why: str) -> None:
        if self._lines:
            self.explained.append(self._reasons)
            self._reasons = []
        super()._close(why)


WHY = {
    "next": "the next record begins",
    "complete": "a trace of this kind ends so",
    "timeout": "nothing came for a while",
    "limit": "it is over the limits, and goes on in the next part",
    "end": "the file ends",
}


def explanation(record: Record, reasons: list[str]) -> str:
    """Return a record's lines, each with its reason, and why the record ended."""
    head = f"{record.lines} lines" if record.lines > 1 else "1 line"
    head += f", joined by {record.rule}" if record.rule else ""
    head += f", part {record.part} of {record.id}" if record.id else ""
    lines = record.text.decode("utf-8", "replace").split("\n")
    reasons = reasons + [""] * (len(lines) - len(reasons))
    body = [f"    {reason:24} | {line}" for reason, line in zip(reasons, lines, strict=False)]
    return "\n".join([f"{head}; ended because {WHY.get(record.why, record.why)}", *body])
