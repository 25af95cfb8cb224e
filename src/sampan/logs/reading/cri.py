"""The log format of CRI: ``TIME STREAM TAGS CONTENT``, a tag P where a long line goes on in the next entry.

Source: kubernetes/community, kubelet-cri-logging.md; cri-api's constants.
"""

from __future__ import annotations

import re

from sampan.logs.reading.line import Line

ENTRY = re.compile(rb"(?m)^([^ \n]+) (stdout|stderr) ([FP])[^ \n]*(?: ([^\n]*))?\n")
WHOLE = re.compile(rb"\S+ (?:stdout|stderr) [FP][^ \n]*(?: |$)")


def lines(chunk: bytes) -> list[Line]:
    """Return the entries of whole lines: ``(time, stream, b"F" or b"P", content)``. What is no entry (a line that
    a crash of the writer tore, say) comes as itself, without a time, on ``stdout``."""
    found: list[Line] = ENTRY.findall(chunk)
    if len(found) == chunk.count(b"\n"):
        return found
    return [entry(line) for line in chunk.split(b"\n")[:-1]]


def entry(line: bytes) -> Line:
    found = ENTRY.fullmatch(line + b"\n")
    if found is None:
        return b"", b"stdout", b"F", line
    time, stream, tag, content = found.groups()
    return time, stream, tag, content or b""
