"""Which formats there are, and which one a file is in, by its first bytes."""

from __future__ import annotations

from collections.abc import Callable

from sampan.logs.joining.stretch import Framing
from sampan.logs.reading import cri, docker_json, plain
from sampan.logs.reading.line import Line

Format = Callable[[bytes], list[Line]]
FORMATS: dict[str, Format] = {"cri": cri.lines, "docker": docker_json.lines, "plain": plain.lines}
EntryAt = Callable[[bytes, int], tuple[Line, int]]
FRAMINGS: dict[str, tuple[EntryAt, dict[bytes, Framing]]] = {
    "cri": (cri.entry_at, {stream: Framing(b" %b F " % stream) for stream in (b"stdout", b"stderr")}),
    "plain": (plain.entry_at, {b"": Framing(b"")}),
}
"""Of formats whose lines stand as they are in the file: what takes one line at a place, and how each stream's stand there."""
LOOKED_AT = 8


def detect(first: bytes) -> str:
    """Return the name of the format that a file's first lines are in: one of them may be torn."""
    for line in first.split(b"\n", LOOKED_AT)[:LOOKED_AT]:
        if cri.WHOLE.match(line):
            return "cri"
        if line.startswith(b'{"log":'):
            return "docker"
    return "plain"
