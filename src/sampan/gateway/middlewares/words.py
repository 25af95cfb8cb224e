"""Expressions of Traefik's options, read word by word from left to right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from sampan.gateway.model.verdicts import Unsupported

LONGEST = 1000
Part = TypeVar("Part")


class Words:
    """What is left of an expression. Everything raises ``Unsupported``, with the option and the whole text."""

    def __init__(self, text: str, word: re.Pattern[str], option: str) -> None:
        self._option, self._text, self._words, place = option, text.strip(), list[str](), 0
        if not self._text:
            raise Unsupported(f"{option}: Required value")
        if len(text) > LONGEST:
            raise Unsupported(f"{option}: longer than {LONGEST} characters")
        while place < len(self._text):
            found = word.match(self._text, place)
            if found is None:
                raise self.error(f"{self._text[place : place + 10]!r} is not understood")
            self._words.append(found[0].strip())
            place = found.end()
        self._place = 0

    def error(self, why: str) -> Unsupported:
        return Unsupported(f"{self._option}: {self._text!r}: {why}")

    def next(self) -> str:
        """Return the next word, and leave it there; ``""`` at the end."""
        return self._words[self._place] if self._place < len(self._words) else ""

    def take(self, *wanted: str) -> str:
        """Return the next word, which has to be one of those that are wanted, if any are named."""
        found = self.next()
        if not found or (wanted and found not in wanted):
            raise self.error(f"{' or '.join(wanted) or 'more'} is expected, not {found or 'the end'}")
        self._place += 1
        return found

    def parts(self, between: str, read: Callable[[], Part]) -> list[Part]:
        """Return what is read before, between and after words that separate it."""
        found = [read()]
        while self.next() == between:
            self.take()
            found.append(read())
        return found

    def end(self) -> None:
        if self.next():
            raise self.error(f"{self.next()!r} is not expected")
