"""Files that are no UTF-8: their lines found as they are written, and made UTF-8 before anything else looks at them.

Offsets stay those of the file's own bytes. UTF-16 and UTF-32 are found by their mark (BOM) and by nothing else; other
encodings are named by a rule. They must keep ``\\n`` for line ends alone, as all that are in use for files do.
"""

from __future__ import annotations

import codecs
import fnmatch
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sampan.logs.outputs.options import OptionError, Options

MARKS = (
    *((b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be")),
    *((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")),
)
UTF8_MARK = b"\xef\xbb\xbf"
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
STATEFUL = ("iso2022", "hz", "utf-7", "utf_7")


class Encoding:
    """``name`` is Python's; ``unit`` is how many bytes a character has at least."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unit = len("\n".encode(name)) if name else 1
        self.newline = "\n".encode(name) if name else b"\n"
        self._mark = "\ufeff".encode(name) if name in (*WIDE, "utf-8") else UTF8_MARK if not name else b""

    def after_last_line(self, data: bytes) -> int:
        """Return where the last whole line ends, 0 where there is none. ``data`` begins with a character."""
        at = len(data)
        while (at := data.rfind(self.newline, 0, at)) >= 0:
            if at % self.unit == 0:
                return at + self.unit
            at += len(self.newline) - 1
        return 0

    def first_line(self, data: bytes) -> tuple[int, int]:
        """Return where the first line's text ends, and where the line does; -1 twice where it does not."""
        at = -1
        while (at := data.find(self.newline, at + 1)) >= 0:
            if at % self.unit == 0:
                return at, at + self.unit
        return -1, -1

    def whole(self, data: bytes) -> int:
        """Return how much of the data are whole characters."""
        if not self.name:
            return len(data)
        decoder = codecs.getincrementaldecoder(self.name)("replace")
        decoder.decode(data)
        return len(data) - len(decoder.getstate()[0])

    def utf8(self, data: bytes, *, first: bool = False) -> bytes:
        """Return text as UTF-8, without the mark if it is the ``first`` of the file. What is no text is replaced."""
        if first and self._mark and data.startswith(self._mark):
            data = data[len(self._mark) :]
        return data.decode(self.name, "replace").encode("utf-8", "replace") if self.name else data


UTF8 = Encoding("")
"""Bytes as they are."""


def of_mark(first: bytes) -> Encoding | None:
    """Return the encoding that a file's first bytes tell by a mark, if what follows looks like it: some ASCII as well."""
    for mark, name in MARKS:
        if first.startswith(mark):
            unit = len("\n".encode(name))
            text = first[: len(first) // unit * unit].decode(name, "replace")[1:]
            plain = sum(char.isascii() and (char.isprintable() or char in "\r\n\t") for char in text)
            if "\ufffd" not in text[:-1] and plain:
                return Encoding(name)
    return None


class Encoded(NamedTuple):
    """A rule: files whose paths match a pattern are in an encoding."""

    path: str
    encoding: Encoding


def encoding_named(name: str, field: str) -> Encoding:
    """Return an encoding. Raises ``OptionError``."""
    try:
        wanted, probe = codecs.lookup(name).name, "\n a1".encode(name)
    except LookupError as error:
        raise OptionError(
            field, f"there is no encoding {name!r}: gbk, shift_jis, latin-1, utf-16-le are some"
        ) from error
    if wanted in ("utf-16", "utf-32"):
        raise OptionError(field, f"{name!r} says nothing of the order of bytes: {wanted}-le or {wanted}-be is wanted")
    if (wanted not in WIDE and probe != b"\n a1") or wanted.startswith(STATEFUL):
        raise OptionError(field, f"{name!r} is no encoding for files of lines")
    return UTF8 if wanted in ("utf-8", "ascii") else Encoding(wanted)


def encoded(given: object, field: str) -> Encoded:
    """Return one rule of a configuration. Raises ``OptionError``."""
    options = Options(given, field)
    found = Encoded(options.needed("path"), encoding_named(options.needed("encoding"), options.place("encoding")))
    options.done()
    return found


def encoding_for(rules: Sequence[Encoded]) -> Callable[[str], Encoding | None]:
    """Return what tells the encoding of a path by the first rule that fits, None where no rule does."""
    return lambda path: next((rule.encoding for rule in rules if fnmatch.fnmatchcase(path, rule.path)), None)
