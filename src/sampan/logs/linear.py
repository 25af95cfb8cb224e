"""Patterns by RE2: linear in the length of a text, whoever wrote them."""

from __future__ import annotations

from typing import Any

import re2


def compiled(text: bytes) -> Any:
    """Return a pattern for bytes; RE2 says nothing on standard error. Raises ``re2.error``."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def no_pattern(text: str, error: Exception) -> str:
    """Return what is said of a text that RE2 refuses."""
    return f"{text!r} is no pattern of RE2 (no look-around, no back-references): {error}"
