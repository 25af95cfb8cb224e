"""Answers about short texts are kept, those about long ones are not: nobody can fill the memory with what he asks about."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
LONGEST = 256
"""Characters. What people and controllers write is shorter, be it a name, a quantity, a selector or a path."""


def remembered(most: int, longest: int = LONGEST) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Return a decorator for a function of one text that keeps the last ``most`` answers, about texts of at most ``longest``
    characters."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        kept = lru_cache(most)(function)

        @wraps(function)
        def asked(text: str) -> T:
            return kept(text) if len(text) <= longest else function(text)

        asked.kept = kept  # type: ignore[attr-defined]
        return asked

    return decorate
