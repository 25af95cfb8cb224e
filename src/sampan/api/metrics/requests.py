"""Counts of requests, kept in one look-up a request: how many, how they ended, how long they took.

Source: k8s.io/apiserver pkg/endpoints/metrics (names, labels, buckets).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.api.app import Routed
    from sampan.api.request import Request

BUCKETS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0,
    60.0,
)  # fmt: skip
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
VERBS = {"create": "POST", "update": "PUT", "": "GET"}
"""Kubernetes' labels are HTTP's words, but for LIST, WATCH, APPLY, CONNECT and DELETECOLLECTION."""

Labels = tuple[str, str, str, str, str, str, str]
"""verb, group, version, resource, subresource, scope, dry_run"""


class Series:
    """All requests with the same labels."""

    __slots__ = ("codes", "counts", "outside", "outside_total", "total")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0
        self.outside: list[int] | None = None
        """What to add to ``counts`` where webhooks were waited for, so that they hold the server's own time."""
        self.outside_total = 0.0


class Requests:
    """The counts of one API."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, ...], Series] = {}
        self.running: dict[Labels, int] = {}
        """Requests that last: watches, logs, exec."""
        self.watch_events: dict[tuple[str, str, str], int] = {}
        """By group, version and kind."""
        self.inflight = {"mutating": 0, "readOnly": 0}
        self.commits: dict[str, tuple[list[int], float]] = {}
        """How long commits took, by operation: counts of ``STORE_BUCKETS`` and their sum."""

    def observe(self, routed: Routed | None, code: int, begun: float) -> None:
        """Count a request that was answered; ``begun`` is of ``perf_counter``."""
        elapsed = perf_counter() - begun
        key: tuple[str, ...]
        if routed is None:
            key = ("", "")
        elif routed.served is None or not known_subresource(routed):
            key = ("", routed.request.attributes.verb)
        else:
            key = key_of(routed.request)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        series.codes[code] = series.codes.get(code, 0) + 1
        series.counts[bisect_left(BUCKETS, elapsed)] += 1
        series.total += elapsed
        if routed is not None and routed.request.outside_seconds:
            outside = routed.request.outside_seconds
            series.outside = series.outside or [0] * (len(BUCKETS) + 1)
            series.outside[bisect_left(BUCKETS, elapsed)] -= 1
            series.outside[bisect_left(BUCKETS, max(elapsed - outside, 0.0))] += 1
            series.outside_total += outside

    def committed(self, operation: str, begun: float) -> None:
        """Count a write that is durable."""
        elapsed = perf_counter() - begun
        counts, total = self.commits.get(operation) or ([0] * (len(STORE_BUCKETS) + 1), 0.0)
        counts[bisect_left(STORE_BUCKETS, elapsed)] += 1
        self.commits[operation] = counts, total + elapsed

    @contextmanager
    def long_running(self, routed: Routed | None) -> Iterator[None]:
        """Count a request for as long as it lasts."""
        labels = labels_of(routed)
        self.running[labels] = self.running.get(labels, 0) + 1
        try:
            yield
        finally:
            self.running[labels] -= 1


def labels_of(routed: Routed | None) -> Labels:
    """Return the labels of a request."""
    if routed is None:
        return ("", "", "", "", "", "", "")
    if routed.served is None:
        return (routed.request.attributes.verb.upper(), "", "", "", "", "", "")
    return labels(key_of(routed.request))


def known_subresource(routed: Routed) -> bool:
    """Whether a request names a part that its resource has, or none: what anybody makes up gets no series of its own."""
    name = routed.request.attributes.subresource
    return not name or routed.subresource is not None or name in ("status", "scale")


def key_of(request: Request) -> tuple[str, ...]:
    """Return what requests with the same labels have in common."""
    at = request.attributes
    dry = "All" if request.query and request.dry_run else ""
    verb = at.verb
    if verb == "patch" and request.headers.get("content-type", "").startswith("application/apply-patch"):
        verb = "apply"
    return at.group, at.version, at.resource, at.subresource, verb, "n" if at.name else "s" if at.namespace else "", dry


def labels(key: tuple[str, ...]) -> Labels:
    """Return the labels of a key of ``Requests.series``."""
    if len(key) == 2:
        return (key[1].upper(), "", "", "", "", "", "")
    group, version, resource, subresource, verb, named, dry = key
    scope = {"n": "resource", "s": "namespace"}.get(named, "cluster")
    word = VERBS.get(verb, verb.upper())
    if subresource in ("exec", "attach", "portforward", "proxy"):
        word = "CONNECT"
    return (word, group, version, resource, subresource, scope, dry)
