"""The log of one instance of a container as the kubelet keeps it: ``N.log``, before it ``N.log.TIME``, packed ones ``.gz``.

``ContainerLog`` reads it piece by piece, over rotations, from its beginning or from so many lines before its end. ``Lines``
puts the pieces of long lines together, each stream for itself. Source: the CRI log format; the kubelet's log rotation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sampan.logs.reading import cri
from sampan.logs.reading.content import Content, Gzip, open_content
from sampan.logs.reading.line import Line

CHUNK = 1 << 18
LONGEST_LINE = 1 << 20
"""Bytes of a line that is put together; of a longer one pieces go out."""
TELLING_BYTES = 1024
PACKED, UNFINISHED = ".gz", ".tmp"


class LogLine(NamedTuple):
    time: bytes
    """Of its first piece, as the file has it."""
    stream: bytes
    text: bytes
    """With its newline, unless the line goes on or has none."""


class Lines:
    """Entries to lines."""

    def __init__(self) -> None:
        self._pieces: dict[bytes, tuple[bytes, list[bytes], int]] = {}

    def feed(self, entries: Iterable[Line]) -> list[LogLine]:
        """Return the lines that have become whole. What is no entry of CRI is left out."""
        found: list[LogLine] = []
        for time, stream, tag, content in entries:
            if tag == b"F" and stream not in self._pieces:
                if time:
                    found.append(LogLine(time, stream, content + b"\n"))
                continue
            first, parts, size = self._pieces.pop(stream, (time, [], 0))
            parts.append(content)
            if tag == b"F":
                found.append(LogLine(first, stream, b"".join(parts) + b"\n"))
            elif size + len(content) > LONGEST_LINE:
                found.append(LogLine(first, stream, b"".join(parts)))
                self._pieces[stream] = (first, [], 0)
            else:
                self._pieces[stream] = (first, parts, size + len(content))
        return found

    def rest(self) -> list[LogLine]:
        """Return lines that have not come to their end, and forget them."""
        found = [LogLine(time, stream, b"".join(parts)) for stream, (time, parts, _) in self._pieces.items() if parts]
        self._pieces = {}
        return found


class ContainerLog:
    def __init__(self, path: Path) -> None:
        """``path``: of the file that is written to now."""
        self._path = path
        self._content: Content | None = None
        self._inode = -1
        self._offset = 0
        self._rest = b""
        self._passed: set[str] = set()
        """Rotated files, without ``.gz``, that have been read or are not to be."""
        self._cut_in = False
        """Whether what comes begins within a line, which is left out."""

    def read(self) -> Iterator[list[Line]]:
        """Yield the whole entries that have come since, a piece of the log at a time. Raises ``OSError``."""
        while True:
            if self._content is None and not self._next():
                return
            assert self._content is not None
            data = self._content.read(CHUNK, self._offset)
            if not data:
                if not self._next():
                    return
                continue
            self._offset += len(data)
            if self._cut_in:
                _, newline, data = data.partition(b"\n")
                self._cut_in = not newline
            end = data.rfind(b"\n") + 1
            whole, self._rest = (self._rest + data[:end], data[end:]) if end else (b"", self._rest + data)
            if whole:
                yield cri.lines(whole)

    def tail(self, lines: int) -> None:
        """Begin so many lines before the end, or somewhat earlier. To be called first."""
        files = self._files()
        found = 0
        for number in range(len(files) - 1, -1, -1):
            try:
                content, _ = open_content(str(files[number]))
            except OSError:
                continue
            try:
                before, offset = beginning_of_tail(content, lines - found)
            finally:
                content.close()
            found += before
            if found > lines or not number:
                self._passed = {bare(file.name) for file in files[:number]}
                if self._next():
                    self._offset, self._cut_in = offset, offset > 0
                return

    def close(self) -> None:
        if self._content is not None:
            self._content.close()
            self._content = None

    def _files(self) -> list[Path]:
        """Return the files in the order in which they were written."""
        names = {name for name in names_in(self._path.parent) if name.startswith(f"{self._path.name}.")}
        older = sorted(
            name
            for name in names
            if not name.endswith(UNFINISHED) and not (name.endswith(PACKED) and name.removesuffix(PACKED) in names)
        )
        return [*(self._path.with_name(name) for name in older), self._path]

    def _next(self) -> bool:
        """Open the file after the one that is read, if there is one and nothing has come to this since."""
        for file in self._files():
            name = bare(file.name)
            if name in self._passed:
                continue
            try:
                content, (_, inode) = open_content(str(file))
            except OSError:
                continue
            if inode == self._inode or self._is_ours(content):
                content.close()
                if file != self._path:
                    self._passed.add(name)
                continue
            if self._content is not None and self._content.read(1, self._offset):
                content.close()  # it was written to until the next one was there
                return True
            self.close()
            self._content, self._inode, self._offset, self._rest = content, inode, 0, b""
            if file != self._path:
                self._passed.add(name)
            return True
        return False

    def _is_ours(self, content: Content) -> bool:
        """Whether this is what is read, packed meanwhile."""
        if self._content is None or not isinstance(content, Gzip):
            return False
        return content.read(TELLING_BYTES, 0) == self._content.read(TELLING_BYTES, 0)


def names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names
    except OSError:
        return []


def bare(name: str) -> str:
    return name.removesuffix(PACKED)


def beginning_of_tail(content: Content, lines: int) -> tuple[int, int]:
    """Return how many lines there are from an offset on, as far as has to be known, and the offset. It is somewhat before the
    line that is meant, so that of the other stream's line, too, the pieces are there."""
    size = content.size()
    if size is None:
        return sum(chunk.count(b"\n") for chunk in chunks_of(content)), 0
    found, at = 0, size
    while at and found <= lines:  # of the first one the beginning is wanted, too: the end of the line before it
        start = max(0, at - CHUNK)
        entries = cri.lines(whole_lines(content.read(at - start, start)))
        found += sum(tag == b"F" and time != b"" for time, _, tag, _ in entries)  # one that is cut has no time
        at = start
    return found, max(0, at - CHUNK)


def whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def chunks_of(content: Content) -> Iterator[bytes]:
    offset = 0
    while data := content.read(CHUNK, offset):
        yield data
        offset += len(data)


def last_lines(lines: list[LogLine], count: int) -> list[LogLine]:
    """Return what makes up the last ``count`` lines; one that has not come to its end counts too."""
    if count <= 0:
        return []
    ends = [-1, *(at for at, line in enumerate(lines) if line.text.endswith(b"\n") or at == len(lines) - 1)]
    return lines[ends[-count - 1] + 1 :] if len(ends) > count else lines


def tail_of(path: Path, *, lines: int, size_bytes: int) -> str:
    """Return the end of a log as text, for termination messages."""
    log, whole = ContainerLog(path), Lines()
    try:
        log.tail(lines)
        found = [line for entries in log.read() for line in whole.feed(entries)]
    except OSError:
        return ""
    finally:
        log.close()
    texts = [line.text for line in last_lines([*found, *whole.rest()], lines)]
    return b"".join(texts)[-size_bytes:].decode(errors="replace")
