"""What a plugin did, counted in its host: requests, own answers, failures with the last ones' tracebacks, time taken.

They are kept in the host's memory (Envoy's, or a process of its own) and asked for on the plugin's socket (``GET
/counters``); a new version begins at zero. Of a processor that Envoy calls there are two hosts.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

BOUNDS_MILLISECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000)
BOUNDS_SECONDS = tuple(bound / 1000 for bound in BOUNDS_MILLISECONDS)
ERRORS_KEPT = 5
FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""What a plugin may raise and is its own affair; anything else is for the loop that it runs on."""


class Measured:
    """One request in the making: counted when it is over."""

    __slots__ = ("_begun", "_counters", "answered", "error", "seconds")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.answered = False
        """Whether the plugin answered in the backend's stead."""
        self.error: dict[str, Any] | None = None
        self.seconds: float | None = None
        """What the plugin took, where that is not all the time between beginning and end."""
        self._begun = time.perf_counter()

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *_: object) -> None:
        now = time.perf_counter()
        self._counters.note(now - self._begun if self.seconds is None else self.seconds, now, self)

    def failed(self, error: BaseException) -> None:
        """Note what an exception handler handles, and write it to the log."""
        if isinstance(error, MemoryError):
            self._counters.exhausted()
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        self.error = {"time": time.time(), "error": f"{type(error).__name__}: {error}", "traceback": trace}


class Counters:
    def __init__(self, key: str, version: str) -> None:
        self.key, self.version = key, version
        self.since = time.time()
        self.exhausted: Callable[[], None] = lambda: None
        """Called when memory has run out, before anything is made of it."""
        self.restarts, self.ending = 0, ""
        """How often a process of its own was started again, and how it ended last."""
        self.requests = self.answered = self.failures = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_MILLISECONDS) + 1)
        self.errors: deque[dict[str, Any]] = deque(maxlen=ERRORS_KEPT)
        self._begun, self._second = int(time.perf_counter()), 0
        self._recent: deque[list[int]] = deque(maxlen=11)
        """Second → requests, of the last ten and the one that runs."""

    def request(self) -> Measured:
        """Return what a request is in the making of, for ``with``."""
        return Measured(self)

    def note(self, seconds: float, now: float, measured: Measured | None = None) -> None:
        """Count a request that ended at ``now`` (of ``time.perf_counter``): it passed, where nothing is said of it."""
        self.requests += 1
        self.seconds += seconds
        if measured is not None:
            self.answered += measured.answered
            if measured.error is not None:
                self.failures += 1
                self.errors.append(measured.error)
        self.buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        second = int(now)
        if second == self._second:
            self._recent[-1][1] += 1
        else:
            self._recent.append([second, 1])
            self._second = second  # after it: another thread may look at the last one now

    def report(self) -> dict[str, Any]:
        """Return what ``sampan gateway plugins`` shows; latencies are the upper bounds of their buckets."""
        now = int(time.perf_counter())
        window = max(1, min(10, now - self._begun))
        recent = sum(count for second, count in self._recent if now - 10 <= second < now)
        return {
            "plugin": self.key,
            "version": self.version,
            "since": self.since,
            "requests": self.requests,
            "perSecond": recent / window,
            "answered": self.answered,
            "failures": self.failures,
            "meanMilliseconds": self.seconds * 1000 / self.requests if self.requests else 0.0,
            "p50Milliseconds": quantile(self.buckets, 0.5),
            "p99Milliseconds": quantile(self.buckets, 0.99),
            "buckets": list(self.buckets),
            "errors": list(self.errors),
            "restarts": self.restarts,
            "lastEnding": self.ending,
        }

    def http_report(self) -> bytes:
        """Return the report as the answer to an HTTP/1.1 request, after which the connection ends."""
        body = json.dumps(self.report()).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return head.encode() + b"connection: close\r\n\r\n" + body

    async def send(self, send: Any) -> None:
        """Answer an ASGI request with the report."""
        body = json.dumps(self.report()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def quantile(buckets: Sequence[int], share: float) -> float:
    """Return the milliseconds within which a share of all requests ended: the bound of a bucket, 0 where there is none."""
    below, requests = 0, sum(buckets)
    for count, bound in zip(buckets, BOUNDS_MILLISECONDS, strict=False):
        below += count
        if below >= share * requests:
            return float(bound) if requests else 0.0
    return float(BOUNDS_MILLISECONDS[-1])


def added(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the reports of a version's hosts as one. There is one at least."""
    if len(reports) == 1:
        return reports[0]
    found = dict(reports[0])
    for field in ("requests", "perSecond", "answered", "failures", "restarts"):
        found[field] = sum(one[field] for one in reports)
    seconds = sum(one["meanMilliseconds"] * one["requests"] for one in reports)
    buckets = [sum(counts) for counts in zip(*(one["buckets"] for one in reports), strict=True)]
    errors = sorted((error for one in reports for error in one["errors"]), key=itemgetter("time"))
    return found | {
        "since": min(one["since"] for one in reports),
        "meanMilliseconds": seconds / found["requests"] if found["requests"] else 0.0,
        "p50Milliseconds": quantile(buckets, 0.5),
        "p99Milliseconds": quantile(buckets, 0.99),
        "buckets": buckets,
        "errors": errors[-ERRORS_KEPT:],
        "lastEnding": next((one["lastEnding"] for one in reports if one["lastEnding"]), ""),
    }
