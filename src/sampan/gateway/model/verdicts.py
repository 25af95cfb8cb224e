"""How something was judged: a reason of the specification and a sentence. And the two ways a rule may fail."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """Why something is not well (or, with the reason of success, that it is)."""

    reason: str
    message: str


class Unsupported(Exception):
    """What cannot be served as it is written: the rule is dropped, and the route's status says so."""


MALFORMED = (TypeError, KeyError, AttributeError, ValueError, IndexError, RecursionError)
"""What code raises that reads settings of no expected form: no schema stands before it."""


def malformed(error: Exception) -> str:
    """Return what is wrong with settings, as code noticed it."""
    text = f"{error!s} is missing" if isinstance(error, KeyError) else str(error)
    return f"a value is not of the form that is expected: {text}"


class Unresolved(Exception):
    """A reference that leads nowhere: the rule answers 500, and ``ResolvedRefs`` says so."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.verdict = Verdict(reason, message)
