"""Container logs as CRI runtimes write them: ``<time> stdout|stderr P|F <text>``, one file an instance.

``entries`` cuts a file into entries and joins partial lines (tag P) with what follows. Source: the CRI log format
(kubernetes design, "CRI: Log management").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class LogLine(NamedTuple):
    time: bytes
    stream: bytes
    text: bytes
    """With its newline, unless the line is not complete yet."""


def parse(line: bytes) -> LogLine | None:
    """Return one line of the file; None for what is no CRI line. ``line`` has its newline."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3]
    if parts[2].startswith(b"P"):
        text = text.removesuffix(b"\n")
    return LogLine(parts[0], parts[1], text)


def lines_of(content: bytes) -> Iterator[LogLine]:
    """Yield the entries of a piece of a log that begins at a line's start; an unfinished last line is left out."""
    for line in content.split(b"\n")[:-1]:  # not splitlines: a carriage return is text (progress bars)
        if (entry := parse(line + b"\n")) is not None:
            yield entry


def tail_of(path: Path, *, lines: int, size_bytes: int) -> str:
    """Return the end of a log as text, for termination messages."""
    try:
        content = path.read_bytes()[-(size_bytes * 4) :]
    except OSError:
        return ""
    texts = [entry.text for entry in lines_of(content)]
    return b"".join(texts[-lines:])[-size_bytes:].decode(errors="replace")


def last_lines(entries: list[LogLine], count: int) -> list[LogLine]:
    """Return the entries that make up the last ``count`` lines; one that is not complete yet counts too."""
    if count <= 0:
        return []
    found = 0
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].text.endswith(b"\n") or index == len(entries) - 1:
            found += 1
            if found > count:
                return entries[index + 1 :]
    return entries


def rotated(path: Path) -> list[Path]:
    """Return the files of an instance in the order they were written: rotated ones, then the current one."""
    older = sorted(other for other in path.parent.glob(f"{path.name}.*") if not other.name.endswith((".gz", ".tmp")))
    return [*older, path]
