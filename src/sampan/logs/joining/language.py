"""How a language's traces are described: lines that begin one, and from each state the lines that may follow.

A state may be tentative: its lines belong to the record only if a firm state follows (a blank line after a Python trace
does if "During handling of the above exception" comes next). Patterns are bytes regular expressions, matched at the start
of a line, without capturing groups. ``TEXT`` stands for any line that does not look like the beginning of a record,
``NEAR``, alone or before a pattern, for lines that were written within a millisecond of the line before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

TEXT = b"\x00text"
NEAR = b"\x00near"
LETTERS = bytes(range(65, 91)) + bytes(range(97, 123)) + b"_$"
PATHS = LETTERS + b"/.-(<0123456789"
SPACES = b" \t"
EVERY = bytes(range(256))
BLANK = rb"\s*$"
INDENTED = rb'\s+(?!File "|[+|][ +|]*Exception Group)\S'
"""An indented line that begins no trace of its own."""
INDENTED_MORE = rb'[ \t]++(?!File "|[+|])\S'
"""``INDENTED`` for stretches, as is the next for ``BLANK``."""
BLANK_LINE = rb"[^\S\n]*+(?=\n)"


class Entry(NamedTuple):
    """A line that begins a trace."""

    pattern: bytes
    state: str
    joins: str = "error"
    """Whether it joins the line before it: ``always`` (it cannot stand alone), ``error`` (where that is a line of a log that
    does not say it is harmless), ``never``."""
    begins: bytes = b""
    """The bytes that its lines may begin with; found in the pattern where that begins with letters."""
    needs: bytes = b""
    """A pattern of words of which each of its lines has one (RE2). Without it every line that begins with one of its bytes is
    looked at by itself, which costs much where these are letters."""


class Step(NamedTuple):
    pattern: bytes
    state: str


class Stretch(NamedTuple):
    """What is taken many lines at once: each of ``turns``, patterns of lines that follow one another, leads to a firm state.
    A pattern may match fewer lines than a step of its states, never others, and must not match a line's end."""

    turns: tuple[tuple[bytes, ...], ...]
    state: str


@dataclass(frozen=True)
class Language:
    name: str
    entries: tuple[Entry, ...]
    steps: Mapping[str, tuple[Step, ...]]
    tentative: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()
    """States after which nothing follows."""
    stretches: Mapping[str, Stretch] = field(default_factory=dict)
    """By states, what most lines that follow are."""
