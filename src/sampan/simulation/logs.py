"""What simulated containers wrote: one line when they started, and what stages say. Kept in memory, the last lines only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from sampan.logs.reading.container_log import LogLine, last_lines
from sampan.node.log_stream import LogOptions
from sampan.schema.objects import Object

LINES_KEPT = 1000


class LogBook:
    """Lines by pod key. A pod of the same name and another uid begins anew."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, deque[LogLine]]] = {}
        self._followed: dict[str, asyncio.Event] = {}

    def write(self, key: str, uid: str, text: str) -> None:
        """Write a text, line by line, for all containers of a pod."""
        known = self._lines.get(key)
        if known is None or known[0] != uid:
            known = self._lines[key] = (uid, deque(maxlen=LINES_KEPT))
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z").encode()
        for line in text.splitlines() or [""]:
            known[1].append(LogLine(now, b"stdout", line.encode() + b"\n"))
        self.tell(key)

    def forget(self, key: str) -> None:
        self._lines.pop(key, None)
        self.tell(key)

    def tell(self, key: str) -> None:
        """Have those who follow a pod's log look again."""
        if (changed := self._followed.pop(key, None)) is not None:
            changed.set()

    def lines(self, pod: Object, container: str) -> list[LogLine]:
        """Return all lines of a container: the one of its start, then what was written."""
        found = [first_line(pod, container)]
        metadata = pod["metadata"]
        known = self._lines.get(f"{metadata['namespace']}/{metadata['name']}")
        if known is not None and known[0] == metadata.get("uid"):
            found += known[1]
        return found

    async def follow(
        self, pod: Object, container: str, options: LogOptions, ended: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Yield the log as ``options`` want it; with ``follow``, until the container has ``ended``, which is asked when
        somebody ``tell``s of the pod."""
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        # taken before the lines are read: one that is written while a piece is on its way to the client is not missed
        changed = self._followed.setdefault(key, asyncio.Event())
        every = self.lines(pod, container)
        last = every[-1]
        lines = [line for line in every if options.wants(line)]
        if options.tail_lines is not None:
            lines = last_lines(lines, options.tail_lines)
        left = options.limit_bytes
        while True:
            for line in lines:
                text = options.render(line)
                yield text if left is None else text[:left]
                if left is not None and (left := left - len(text)) <= 0:
                    return
            if not options.follow:
                return
            if not changed.is_set():
                if ended():
                    return
                await changed.wait()
            changed = self._followed.setdefault(key, asyncio.Event())
            now = self.lines(pod, container)
            begin = next((at + 1 for at, line in enumerate(now) if line is last), None)
            if begin is None:  # what was last is no longer kept, or was the line of the start
                begin = 1
            lines = now[begin:]
            last = now[-1]


def first_line(pod: Object, container: str) -> LogLine:
    statuses: list[Object] = pod["status"].get("containerStatuses") or []
    status: Object = next((entry for entry in statuses if entry["name"] == container), {})
    state = status.get("state") or {}
    run = state.get("running") or state.get("terminated") or {}
    since = str(run.get("startedAt") or pod["status"].get("startTime", "1970-01-01T00:00:00Z"))
    stamp = since.replace("Z", ".000000Z").encode()
    return LogLine(stamp, b"stdout", f"simulated container {container} of {status.get('image', '')}\n".encode())
