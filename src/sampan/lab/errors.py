"""What can be wrong with a laboratory, as people are told."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """Something could not be done; ``hint`` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class TopologyError(LabError):
    """A topology is wrong: one line a problem, each with the path of its field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
