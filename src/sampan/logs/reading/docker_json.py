"""The json-file format of Docker: an object a line with ``log``, ``stream``, ``time``. A line over 16 KiB is cut, and its
pieces but the last do not end with a newline.

Source: moby, daemon/logger/jsonfilelog.
"""

from __future__ import annotations

import orjson

from sampan.logs.reading.line import Line


def lines(chunk: bytes) -> list[Line]:
    """Return the entries of whole lines. What is no entry comes as itself, without a time, on ``stdout``."""
    return [entry(line) for line in chunk.split(b"\n")[:-1]]


def entry(line: bytes) -> Line:
    try:
        found = orjson.loads(line)
        text = found["log"].encode()
        time, stream = str(found.get("time", "")).encode(), str(found.get("stream", "stdout")).encode()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return b"", b"stdout", b"F", line
    if text.endswith(b"\n"):
        return time, stream, b"F", text[:-1]
    return time, stream, b"P", text
