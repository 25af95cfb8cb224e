"""What can go wrong with an expression: it does not compile, it fails when evaluated, it costs too much.

``CompileError`` shows its issues as cel-go does: message, the line and a caret below the place. Nothing else is raised
by this package on any input.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_SNIPPET = 16_384
"""Longest line shown under a message (cel-go's limit)."""


class Issue(NamedTuple):
    """One thing wrong with an expression's text; ``position`` counts characters from its beginning."""

    position: int
    message: str


class CelError(Exception):
    """Any refusal of this package."""


class CompileError(CelError):
    """The expression does not parse or check. ``str()`` is cel-go's text of all issues, in the order of the source."""

    def __init__(self, source: str, issues: list[Issue]) -> None:
        self.source = source
        self.issues = sorted(issues, key=lambda issue: issue.position)
        super().__init__("\n".join(shown(source, issue) for issue in self.issues))


class EvaluationError(CelError):
    """The evaluation ended in an error (``no such key: x``, ``division by zero``)."""


class CostExceeded(CelError):
    """The evaluation was stopped: it cost more than one call may."""

    def __init__(self, message: str = "operation cancelled: actual cost limit exceeded") -> None:
        super().__init__(message)


class BudgetExceeded(CelError):
    """The evaluations of one object have used up what they may cost together."""


def line_and_column(source: str, position: int) -> tuple[int, int]:
    """Return the line, from 1, and the column, from 0, of a position."""
    before = source[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1)


def shown(source: str, issue: Issue) -> str:
    """Return an issue as ``ERROR: <input>:1:4: message`` with the line and a caret."""
    if not source:
        return f"ERROR: <input>:1:0: {issue.message}"  # where the end is the beginning
    line, column = line_and_column(source, issue.position)
    text = f"ERROR: <input>:{line}:{column + 1}: {issue.message}"
    lines = source.split("\n")
    if line > len(lines):
        return text
    snippet = lines[line - 1].replace("\t", " ")
    if len(snippet) > MAX_SNIPPET:
        return text
    dots = "".join("．" if ord(character) > 0x7F else "." for character in snippet[:column])
    caret = "＾" if column < len(snippet) and ord(snippet[column]) > 0x7F else "^"
    return f"{text}\n | {snippet}\n | {dots}{caret}"


def no_overload(function: str = "") -> EvaluationError:
    return EvaluationError(f"no such overload: {function}" if function else "no such overload")
