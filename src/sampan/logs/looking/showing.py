"""How records are shown: a line each with whose it is before it, the rest of a record's lines indented; or as JSON."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from sampan.logs.log_record import Labels
from sampan.logs.looking.wanted import Found, moment_of
from sampan.logs.outputs.output import json_line
from sampan.logs.timestamps import written

COLOURS = (36, 32, 35, 34, 96, 92, 95, 94, 33, 93)
RED, YELLOW, DIM = b"\x1b[31m", b"\x1b[33m", b"\x1b[2m"
RESET = b"\x1b[0m"
ESCAPES = bytes(byte for byte in range(32) if byte not in (9, 10)) + b"\x7f"
"""What a terminal would obey. Colours that programs write, and nothing else of it, are kept where colours are shown."""
COLOUR = re.compile(rb"(\x1b\[[0-9;:]*m)")
VISIBLE = bytes.maketrans(ESCAPES, b"?" * len(ESCAPES))
WARN, ERROR, INFO = 13, 17, 9


class Showing:
    """``show`` writes one record."""

    def __init__(
        self, write: Callable[[bytes], object], *, as_json: bool, colour: bool, prefix: bool, times: bool
    ) -> None:
        self._write, self._json, self._colour = write, as_json, colour
        self._prefix, self._times = prefix, times
        self._heads: dict[tuple[str, ...], bytes] = {}

    def show(self, found: Found) -> None:
        labels, record, _, _ = found.delivery
        if self._json:
            self._write(json_line(found.delivery))
            return
        head = self._head(labels) if self._prefix else b""
        if self._times:
            moment = moment_of(found.delivery)
            head += (written(moment) if moment else "-").encode() + b" "
        text = record.text.replace(b"\r", b"")
        if self._colour and COLOUR.search(text) is not None:
            text = b"".join(
                part if number % 2 else part.translate(VISIBLE) for number, part in enumerate(COLOUR.split(text))
            )
            text = text.replace(b"\n", b"\n  ") + RESET
        else:
            text = text.translate(VISIBLE).replace(b"\n", b"\n  ")
            text = coloured(text, found.severity) if self._colour else text
        self._write(head + text + b"\n")

    def _head(self, labels: Labels) -> bytes:
        of = labels.values
        whose = tuple(of[part] for part in ("namespace", "pod", "container") if part in of) or (of.get("file", ""),)
        head = self._heads.get(whose)
        if head is None:
            name = "/".join(whose).encode("utf-8", "replace").translate(VISIBLE)
            if self._colour:
                name = b"\x1b[%dm%b%b" % (COLOURS[zlib.crc32(name) % len(COLOURS)], name, RESET)
            head = self._heads[whose] = name + b" "
        return head


def coloured(text: bytes, severity: int) -> bytes:
    if severity >= ERROR:
        return RED + text + RESET
    if severity >= WARN:
        return YELLOW + text + RESET
    return DIM + text + RESET if 0 < severity < INFO else text
