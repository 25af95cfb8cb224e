"""One file from its beginning to its end, or stdin: its records as they become whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from sampan.logs.assembling import Joins, single
from sampan.logs.joining import Joiner, Record
from sampan.logs.reading.content import Content, open_content
from sampan.logs.reading.encodings import Encoding
from sampan.logs.reading.file import LogFile


class Pipe:
    """What cannot be read twice: reads go forward only, but for the first bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._first, self._at = descriptor, b"", 0

    def read(self, size: int, offset: int) -> bytes:
        if offset < self._at:
            return self._first[offset : offset + size]
        data = os.read(self._descriptor, size)
        if not self._at:
            self._first = data
        self._at += len(data)
        return data

    def size(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def open_stream(
    path: str, format: str = "", make_joiner: Callable[[], Joins] = Joiner, encoding: Encoding | None = None
) -> LogFile:
    """Open a file, or stdin for ``-``. Raises ``OSError``."""
    content: Content
    key = (0, 0)
    if path == "-":
        content = Pipe(sys.stdin.fileno())
    else:
        content, key = open_content(path)
    return LogFile(path, content, key, make_joiner, format, encoding)


def records_of(
    path: str, format: str = "", make_joiner: Callable[[], Joins] = Joiner, encoding: Encoding | None = None
) -> Iterator[tuple[bytes, Record]]:
    """Yield the records of a file, or of stdin for ``-``. Raises ``OSError``."""
    file = open_stream(path, format, make_joiner, encoding)
    try:
        while (records := file.read()) is not None:
            yield from single(records)
        yield from single(file.finish())
    finally:
        file.close()
