"""The log format of CRI: ``TIME STREAM TAGS CONTENT``, a tag P where a long line goes on in the next entry.

Source: kubernetes/community, kubelet-cri-logging.md; cri-api's constants.
"""

from __future__ import annotations

import re

from sampan.logs.reading.line import Line

ENTRY = re.compile(rb"(?m)^([^ \n]+) (stdout|stderr) ([FP])[^ \n]*(?: ([^\n]*))?\n")
ONE_ENTRY = re.compile(rb"(\S++) (stdout|stderr) ([FP])[^ \n]*+(?: ([^\n]*+))?\n")
WHOLE = re.compile(rb"\S+ (?:stdout|stderr) [FP][^ \n]*(?: |$)")


BY_STREAM = re.compile(rb"((?:\S++ stdout [^\n]*+\n)++)|((?:\S++ stderr [^\n]*+\n)++)")


def by_stream(chunk: bytes) -> list[bytes]:
    """Return whole lines of both streams apart, in their order; the chunk as it is where that cannot be done."""
    found = BY_STREAM.findall(chunk)
    parts = [part for part in (b"".join(out for out, _ in found), b"".join(err for _, err in found)) if part]
    return parts if sum(map(len, parts)) == len(chunk) else [chunk]


def lines(chunk: bytes) -> list[Line]:
    """Return the entries of whole lines: ``(time, stream, b"F" or b"P", content)``. What is no entry (a line that
    a crash of the writer tore, say) comes as itself, without a time, on ``stdout``."""
    found: list[Line] = ENTRY.findall(chunk)
    if len(found) == chunk.count(b"\n"):
        return found
    return [entry(line) for line in chunk.split(b"\n")[:-1]]


def entry_at(chunk: bytes, at: int) -> tuple[Line, int]:
    """Return the entry of the line that begins at ``at``, and where the next one begins."""
    found = ONE_ENTRY.match(chunk, at)
    if found is None:
        end = chunk.find(b"\n", at) + 1
        return entry(chunk[at : end - 1]), end
    time, stream, tag, content = found.groups(b"")
    return (time, stream, tag, content), found.end()


def entry(line: bytes) -> Line:
    found = ENTRY.fullmatch(line + b"\n")
    if found is None:
        return b"", b"stdout", b"F", line
    time, stream, tag, content = found.groups()
    return time, stream, tag, content or b""
