"""Plain files: a line is a line, of one stream and without a time."""

from __future__ import annotations

from sampan.logs.reading.line import Line


def entry_at(chunk: bytes, at: int) -> tuple[Line, int]:
    """Return the line that begins at ``at``, and where the next one begins."""
    end = chunk.find(b"\n", at) + 1
    return (b"", b"", b"F", chunk[at : end - 1].removesuffix(b"\r")), end


def lines(chunk: bytes) -> list[Line]:
    """Return the whole lines; a carriage return before the newline goes."""
    return [(b"", b"", b"F", line.removesuffix(b"\r")) for line in chunk.split(b"\n")[:-1]]
