"""Regular expressions as Go's ``regexp`` has them: a schema's ``pattern``, CEL's ``matches``, ``find`` and ``findAll``.

RE2 runs them, in time linear in the text, so that no pattern and no text of a client can hold up the server; it is
imported with the first pattern. Where there is no RE2 (no wheel for a platform) Python's ``re`` stands in, for patterns
that both write alike. Source: github.com/google/re2/wiki/Syntax, Go's regexp/syntax (the words of errors).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol

from sampan.schema.remembering import remembered


class PatternError(ValueError):
    """Why a pattern is none, as Go says it."""


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> bool:
        """Return whether the pattern matches anywhere."""

    def find_all(self, text: str) -> Iterator[str]:
        """Yield what matches, from left to right: no empty match directly after another, as in Go."""


@remembered(512, longest=4096)
def compile_pattern(pattern: str) -> Pattern:
    """Return a pattern. Raises ``PatternError``."""
    engine = re2()
    return Linear(pattern, engine) if engine is not None else Backtracking(pattern)


@cache
def re2() -> Any:
    """Return the module of RE2, None where there is none."""
    try:
        import re2
    except ImportError:
        return None
    return re2


GO_WORDS = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}
"""What RE2 and Go's ``regexp`` say of the same mistake, where they differ."""


class Linear:
    """A pattern that RE2 runs. What is found is in bytes; nothing is captured, which RE2 is quicker at."""

    def __init__(self, pattern: str, engine: Any) -> None:
        options = engine.Options()
        options.log_errors = False
        options.never_capture = True
        try:
            self._search = engine.compile(pattern.encode(errors="surrogatepass"), options).search
        except engine.error as error:
            what, _, where = error.args[0].decode(errors="replace").partition(": ")
            raise PatternError(f"error parsing regexp: {GO_WORDS.get(what, what)}: `{where}`") from None

    def search(self, text: str) -> bool:
        return self._search(text.encode(errors="surrogatepass")) is not None

    def find_all(self, text: str) -> Iterator[str]:
        data = text.encode(errors="surrogatepass")
        position, end = 0, -1
        while position <= len(data):
            match = self._search(data, position)
            if match is None:
                return
            before, (start, end) = end, match.span()
            if start != end or start != before:
                yield data[start:end].decode(errors="replace")
            position = end if end > position else _next_character(data, position)


def _next_character(data: bytes, position: int) -> int:
    position += 1
    while position < len(data) and data[position] & 0xC0 == 0x80:
        position += 1
    return position


class Backtracking:
    """A pattern that Python runs."""

    def __init__(self, pattern: str) -> None:
        perl = _perl.search(pattern)
        if perl is not None:
            kind = "invalid or unsupported Perl syntax" if perl[1] else "invalid escape sequence"
            raise PatternError(f"error parsing regexp: {kind}: `{perl[1] or perl[2]}`")
        try:
            self._compiled = re.compile(_in_python(pattern), re.ASCII)
        except re.error as error:
            raise PatternError(f"error parsing regexp: {_in_go(error, pattern)}") from None
        except (RecursionError, OverflowError):
            raise PatternError("error parsing regexp: expression nests too deeply") from None

    def search(self, text: str) -> bool:
        return self._compiled.search(text) is not None

    def find_all(self, text: str) -> Iterator[str]:
        end = -1
        for match in self._compiled.finditer(text):
            if match[0] or match.start() != end:
                yield match[0]
            end = match.end()


_perl = re.compile(r"(?<!\\)(?:\\\\)*(?:(\(\?(?:[=!]|<[=!]|P=|#))|(\\[1-9]))")
"""What Python's patterns have and RE2's have not: looking around, references back."""


def _in_go(error: re.error, text: str) -> str:
    """Return what Go's regexp/syntax says of a pattern that Python refuses with ``error``."""
    rest = text[error.pos or 0 :]
    if "unterminated character set" in error.msg:
        return f"missing closing ]: `{rest}`"
    if "unterminated subpattern" in error.msg:
        return f"missing closing ): `{text}`"
    if "unbalanced parenthesis" in error.msg:
        return f"unexpected ): `{text}`"
    if "nothing to repeat" in error.msg:
        return f"missing argument to repetition operator: `{rest[:1]}`"
    if "multiple repeat" in error.msg:
        return f"invalid nested repetition operator: `{text[max((error.pos or 1) - 1, 0) :][:2]}`"
    if "bad escape" in error.msg:
        return f"invalid escape sequence: `{rest[:2]}`"
    return f"{error.msg}: `{text}`"


_posix = {
    "alnum": "A-Za-z0-9", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\s",
    "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


def _in_python(pattern: str) -> str:
    """Return a pattern as Python writes it: ``$`` only matches at the very end, classes have no names."""
    text = re.sub(r"\[:(\w+):\]", lambda match: _posix.get(match[1], match[0]), pattern)
    out: list[str] = []
    position, in_class = 0, False
    while position < len(text):
        character = text[position]
        if character == "\\":
            pair = text[position : position + 2]
            out.append(r"\Z" if pair == r"\z" else pair)
            position += 2
            continue
        if character == "[" and in_class:
            out.append(r"\[")
        elif character == "$" and not in_class:
            out.append(r"\Z")
        else:
            in_class = (in_class or character == "[") and not (character == "]" and not _opens(out))
            out.append(character)
        position += 1
    return "".join(out)


def _opens(out: list[str]) -> bool:
    """Whether a ``]`` here is the first character of its class, where it stands for itself."""
    return out[-1:] == ["["] or out[-2:] == ["[", "^"]
