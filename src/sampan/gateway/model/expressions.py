"""Regular expressions, judged by the engine that Envoy runs: RE2, whose time is linear in text and expression.

Linear is not small: an expression of a few characters can stand for a hundred thousand steps at each character of a path. So
the size of its program is limited, too. Source: RE2's syntax; Envoy's ``RegexMatcher``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sampan.gateway.model.verdicts import Unsupported

LONGEST = 4096
MOST_STEPS = 2000
"""Of a program; ``/api/v[0-9]+/(.*)`` has 30, a class of letters of all scripts 1,200."""


def checked(text: str) -> int:
    """Return how many groups an expression has. Raises ``Unsupported`` for one that Envoy refuses, or better would."""
    if len(text) > LONGEST:
        raise Unsupported(
            f"the expression {text[:40]!r}… is too long: {len(text)} characters, at most {LONGEST} are served"
        )
    problem, steps, groups = compiled(text)
    if problem:
        raise Unsupported(f"{text!r} is no regular expression of RE2: {problem}")
    if steps > MOST_STEPS:
        shown = text if len(text) < 80 else f"{text[:80]}…"
        raise Unsupported(f"the expression {shown!r} is too complex: {steps} steps, at most {MOST_STEPS} are served")
    return groups


@lru_cache(4096)
def compiled(text: str) -> tuple[str, int, int]:
    """Return ``(what is wrong, steps of the program, groups)``."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Any = re2.compile(text, options)
    except re2.error as error:
        said = error.args[0]
        return (said.decode(errors="replace") if isinstance(said, bytes) else str(said)), 0, 0
    return "", int(pattern.programsize), int(pattern.groups)
