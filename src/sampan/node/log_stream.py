"""Serving a container's log: the end of it, from a time on, and what is still to come.

Following waits on inotify events of the log's folder; nothing polls. Source: core/v1 PodLogOptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sampan.node.inotify import changes_of
from sampan.node.log_files import LogLine, last_lines, lines_of, rotated


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: bytes = b""
    """A time in UTC to the second, compared as text: CRI writes its times in one zone and width."""
    stream: str = "All"

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> LogOptions:
        """Return the options of a request; numbers were checked by the API."""

        def number(name: str) -> int | None:
            value = query.get(name, "")
            return int(value) if value.lstrip("-").isdecimal() else None

        since, seconds = "", number("sinceSeconds")
        with contextlib.suppress(ValueError):  # the API has refused what is no time
            moment = datetime.datetime.fromisoformat(query.get("sinceTime", ""))
            since = moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if seconds is not None:
            moment = datetime.datetime.fromtimestamp(time.time() - seconds, datetime.UTC)
            since = moment.strftime("%Y-%m-%dT%H:%M:%S")
        return cls(
            follow=query.get("follow") in ("true", "1"),
            previous=query.get("previous") in ("true", "1"),
            timestamps=query.get("timestamps") in ("true", "1"),
            tail_lines=number("tailLines"),
            limit_bytes=number("limitBytes"),
            since=since.encode(),
            stream=query.get("stream") or "All",
        )

    def wants(self, entry: LogLine) -> bool:
        if self.stream != "All" and entry.stream.decode() != self.stream.lower():
            return False
        return not self.since or entry.time[: len(self.since)] >= self.since

    def render(self, entry: LogLine, *, line_begins: bool) -> bytes:
        return entry.time + b" " + entry.text if self.timestamps and line_begins else entry.text


async def follow_log(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the log in pieces; with ``follow`` until the container has ended (``ended``) and all of it is read."""
    left = options.limit_bytes
    reader = LogReader(path)
    async with changes_of(path.parent) as changed:
        entries = [entry for entry in reader.read() if options.wants(entry)]
        if options.tail_lines is not None:
            entries = last_lines(entries, options.tail_lines)
        fresh = True
        while True:
            parts = []
            for entry in entries:
                parts.append(options.render(entry, line_begins=fresh))
                fresh = entry.text.endswith(b"\n")
            piece = b"".join(parts)
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                yield piece
            if not options.follow or left == 0:
                return
            if ended():
                entries = [entry for entry in reader.read() if options.wants(entry)]
                if not entries:
                    return
                continue
            try:
                async with asyncio.timeout(1.0):  # an exit writes nothing into the folder
                    await changed.wait()
            except TimeoutError:
                pass
            changed.clear()
            entries = [entry for entry in reader.read() if options.wants(entry)]


class LogReader:
    """Reads a log from where it stopped, over rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._first = True

    def read(self) -> list[LogLine]:
        """Return the whole entries that have come since."""
        content = b""
        for file in rotated(self._path):
            try:
                with file.open("rb") as log:
                    inode = file.stat().st_ino
                    if self._first or inode == self._inode:
                        if inode == self._inode:
                            log.seek(self._offset)
                        content += log.read()
                        self._first = True  # newer files are read from their beginning
                    if file == self._path:
                        self._inode, self._offset = inode, log.tell()
            except FileNotFoundError:
                continue
        self._first = False
        whole = content[: content.rfind(b"\n") + 1]
        self._offset -= len(content) - len(whole)
        return list(lines_of(whole))
