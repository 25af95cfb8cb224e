"""A Corefile's text to server blocks and directives; pure.

The grammar only: what a directive means is said in ``configuration.py``. Words are parted by blanks, ``"`` quotes, ``#``
begins a comment, a ``{`` at a line's end opens a block and a ``}`` alone closes it; ``{$NAME}`` and ``{%NAME%}`` are
variables of the environment, ``(name) { … }`` is a snippet that ``import name`` puts in. Source: CoreDNS's manual,
"Corefile" and "import".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

VARIABLE = re.compile(r"\{\$(\w+)\}|\{%(\w+)%\}")
DEEPEST = 4
"""How deep blocks may stand in blocks."""


class CorefileError(ValueError):
    """What is wrong, with its line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Corefile:{line}: {message}")
        self.line = line


class Directive(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    lines: tuple[Directive, ...]
    """What stands in its block."""
    line: int

    def refuse(self, message: str) -> CorefileError:
        return CorefileError(self.line, f"{self.name}: {message}")


class ServerBlock(NamedTuple):
    keys: tuple[str, ...]
    """``ZONE[:PORT]``, as they stand there."""
    directives: tuple[Directive, ...]
    line: int


class _Line(NamedTuple):
    number: int
    words: list[str]


def parse(text: str, environment: Mapping[str, str] = os.environ) -> list[ServerBlock]:
    """Return the server blocks. Raises ``CorefileError``."""
    lines = list(_lines(text, environment))
    blocks: list[ServerBlock] = []
    snippets: dict[str, list[Directive]] = {}
    position = 0
    while position < len(lines):
        number, words = lines[position]
        keys: list[str] = []
        while words[-1] != "{":  # keys may stand on several lines, each but the last with a comma
            keys += words
            position += 1
            if not keys[-1].endswith(",") or position == len(lines):
                raise CorefileError(number, f"after {keys[-1]!r} a {{ is missing")
            words = lines[position].words
        keys += words[:-1]
        if not keys:
            raise CorefileError(number, "a block without a zone")
        directives, position = _block(lines, position + 1, snippets, 1, number)
        names = tuple(key.rstrip(",") for key in keys if key != ",")
        if len(names) == 1 and names[0].startswith("(") and names[0].endswith(")"):
            snippets[names[0][1:-1]] = directives
        else:
            blocks.append(ServerBlock(names, tuple(directives), number))
    return blocks


def _block(
    lines: list[_Line], position: int, snippets: Mapping[str, list[Directive]], depth: int, opened: int
) -> tuple[list[Directive], int]:
    """Return what stands in a block, and the position behind its end."""
    if depth > DEEPEST:
        raise CorefileError(opened, "blocks stand too deep in blocks")
    found: list[Directive] = []
    while position < len(lines):
        number, words = lines[position]
        position += 1
        if words == ["}"]:
            return found, position
        if "}" in words and words[-1] == "}" and "{" not in words:
            raise CorefileError(number, "a } must stand alone in its line")
        inner: list[Directive] = []
        if words[-1] == "{":
            words = words[:-1]
            if not words:
                raise CorefileError(number, "a block without a directive")
            inner, position = _block(lines, position, snippets, depth + 1, number)
        if words[0] == "import":
            found += _imported(number, words, snippets)
        else:
            found.append(Directive(words[0], tuple(words[1:]), tuple(inner), number))
    raise CorefileError(opened, "the block is not closed")


def _imported(number: int, words: list[str], snippets: Mapping[str, list[Directive]]) -> list[Directive]:
    if len(words) != 2 or words[1] not in snippets:
        known = ", ".join(sorted(snippets)) or "none"
        raise CorefileError(number, f"import: {' '.join(words[1:])!r} is no snippet above it (there are: {known})")
    return snippets[words[1]]


def _lines(text: str, environment: Mapping[str, str]) -> Iterator[_Line]:
    for number, raw in enumerate(text.splitlines(), 1):
        words = list(_words(VARIABLE.sub(lambda found: environment.get(found[1] or found[2], ""), raw), number))
        if words:
            yield _Line(number, words)


def _words(line: str, number: int) -> Iterator[str]:
    position, size = 0, len(line)
    while position < size:
        if line[position].isspace():
            position += 1
        elif line[position] == "#":
            return
        elif line[position] == '"':
            end = line.find('"', position + 1)
            while end > 0 and line[end - 1] == "\\":
                end = line.find('"', end + 1)
            if end < 0:
                raise CorefileError(number, 'a " is not closed')
            yield line[position + 1 : end].replace('\\"', '"')
            position = end + 1
        else:
            end = position
            while end < size and not line[end].isspace():
                end += 1
            yield line[position:end]
            position = end
