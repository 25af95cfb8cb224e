"""Patterns of users: RE2, linear in the text's length whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import re2

from sampan.logs import linear
from sampan.logs.outputs.options import OptionError


def compiled(text: str, field: str) -> Any:
    """Return a pattern for bytes. Raises ``OptionError``."""
    if not text:
        raise OptionError(field, "a pattern is wanted")
    try:
        return linear.compiled(text.encode())
    except re2.error as error:
        raise OptionError(field, linear.no_pattern(text, error)) from error


def groups_of(pattern: Any) -> dict[str, int]:
    """Return the named groups of a pattern, and their numbers."""
    return {name.decode(): number for name, number in pattern.groupindex.items()}


def matcher(text: str, field: str) -> Callable[[bytes], bool]:
    """Return what tells whether a text has a match. Raises ``OptionError``."""
    pattern = compiled(text, field)
    return lambda given: pattern.search(given) is not None
