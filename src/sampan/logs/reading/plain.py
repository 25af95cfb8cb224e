"""Plain files: a line is a line, of one stream and without a time."""

from __future__ import annotations

from sampan.logs.reading.line import Line


def lines(chunk: bytes) -> list[Line]:
    """Return the whole lines; a carriage return before the newline goes."""
    return [(b"", b"", b"F", line.removesuffix(b"\r")) for line in chunk.split(b"\n")[:-1]]
