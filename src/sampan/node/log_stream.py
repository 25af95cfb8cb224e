"""Serving a container's log: the end of it, from a time on, and what is still to come.

Following waits on inotify events of the log's folder; nothing polls. Source: core/v1 PodLogOptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sampan.logs.reading.container_log import ContainerLog, Lines, LogLine, last_lines
from sampan.logs.timestamps import rfc3339
from sampan.node.inotify import changes_of

ENDED_SECONDS = 1.0
"""An exit writes nothing into the folder: so often it is asked whether the container has ended."""
FEW_LINES = 1000
"""Of those before a tail so many are held, and as many as the tail has."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: int = 0
    """Nanoseconds since 1970."""
    stream: str = "All"

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> LogOptions:
        """Return the options of a request; numbers were checked by the API."""

        def number(name: str) -> int | None:
            value = query.get(name, "")
            return int(value) if value.lstrip("-").isdecimal() else None

        since, seconds = 0, number("sinceSeconds")
        with contextlib.suppress(ValueError):  # the API has refused what is no time
            datetime.datetime.fromisoformat(query.get("sinceTime", ""))
            since = rfc3339(query["sinceTime"].encode())
        if seconds is not None:
            since = time.time_ns() - seconds * 1_000_000_000
        return cls(
            follow=query.get("follow") in ("true", "1"),
            previous=query.get("previous") in ("true", "1"),
            timestamps=query.get("timestamps") in ("true", "1"),
            tail_lines=number("tailLines"),
            limit_bytes=number("limitBytes"),
            since=since,
            stream=query.get("stream") or "All",
        )

    def wants(self, line: LogLine) -> bool:
        if self.stream != "All" and line.stream.decode() != self.stream.lower():
            return False
        return not self.since or rfc3339(line.time) >= self.since

    def render(self, line: LogLine, *, begins: bool = True) -> bytes:
        """Return a line as it goes out. ``begins``: it is no further piece of one."""
        return written(line.time) + b" " + line.text if self.timestamps and begins else line.text


def written(moment: bytes) -> bytes:
    """Return a time with nine digits after the point, as the kubelet does."""
    head, point, rest = moment.partition(b".")
    digits = rest.rstrip(b"Z") if point else b""
    if not point or not digits.isdigit():
        return moment  # in a zone, or without a fraction: as the runtime wrote it
    return b"%b.%bZ" % (head, digits.ljust(9, b"0")[:9])


async def follow_log(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the log in pieces; with ``follow`` until the container has ended (``ended``) and all of it is read."""
    log, left = ContainerLog(path), options.limit_bytes
    sending = Sending(log, options)
    try:
        async with changes_of(path.parent) as changed:
            while True:
                last = not options.follow or ended()
                for piece in sending.pieces(last=last):
                    yield piece if left is None else piece[:left]
                    if left is not None and (left := left - len(piece)) <= 0:
                        return
                if last:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ENDED_SECONDS):
                        await changed.wait()
                changed.clear()
    finally:
        log.close()


class Sending:
    """What of a log is wanted, from its beginning or its tail on."""

    def __init__(self, log: ContainerLog, options: LogOptions) -> None:
        self._log, self._options, self._lines = log, options, Lines()
        self._first, self._fresh = True, True

    def pieces(self, *, last: bool) -> Iterator[bytes]:
        """Yield what has come since. ``last``: nothing comes after, and what has no end goes out as it is."""
        if self._first and self._options.tail_lines is not None:
            found: Iterator[list[LogLine]] = iter([self._tail(self._options.tail_lines, last=last)])
        else:
            found = self._wanted(last=last)
        self._first = False
        for lines in found:
            if piece := self._render(lines):
                yield piece

    def _tail(self, count: int, *, last: bool) -> list[LogLine]:
        self._log.tail(count)
        tail: list[LogLine] = []
        for lines in self._wanted(last=last):
            tail += lines
            if len(tail) > count * 2 + FEW_LINES:
                tail = last_lines(tail, count)
        return last_lines(tail, count)

    def _wanted(self, *, last: bool) -> Iterator[list[LogLine]]:
        options = self._options
        every = options.stream == "All" and not options.since
        for entries in self._log.read():
            lines = self._lines.feed(entries)
            yield lines if every else [line for line in lines if options.wants(line)]
        if last:
            yield [line for line in self._lines.rest() if options.wants(line)]

    def _render(self, lines: list[LogLine]) -> bytes:
        parts = []
        for line in lines:
            parts.append(self._options.render(line, begins=self._fresh))
            self._fresh = line.text.endswith(b"\n")
        return b"".join(parts)
