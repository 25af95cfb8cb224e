"""Which formats there are, and which one a file is in, by its first bytes."""

from __future__ import annotations

from collections.abc import Callable

from sampan.logs.reading import cri, docker_json, plain
from sampan.logs.reading.line import Line

Format = Callable[[bytes], list[Line]]
FORMATS: dict[str, Format] = {"cri": cri.lines, "docker": docker_json.lines, "plain": plain.lines}


def detect(first: bytes) -> str:
    """Return the name of the format that a file's first whole line is in."""
    line = first.partition(b"\n")[0]
    if cri.WHOLE.match(line):
        return "cri"
    return "docker" if line.startswith(b'{"log":') else "plain"
