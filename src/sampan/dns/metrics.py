"""What ``/metrics`` shows, under CoreDNS's names.

The quick way of a query counts one thing only, (type, size of the query, size of the answer); that is spread over
counters and histograms when somebody looks. Source: CoreDNS's ``prometheus`` and the manuals of its plugins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from sampan.api.metrics.exposition import Family, HistogramFamily, Sample
from sampan.dns import wire
from sampan.dns.entries import Ip
from sampan.dns.observed import SECONDS, Observed

if TYPE_CHECKING:
    from sampan.dns.responder import Responder

queries = logging.getLogger("sampan.dns.queries")

SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)
PROGRAMMING_SECONDS = tuple(0.001 * 2**n for n in range(20))
MOST_HITS = 4096
"""How many different (type, size, size) are kept apart before they are spread."""
Hit = tuple[bytes, int, int]


class Metrics:
    """Counts of one server."""

    def __init__(self, server: str = "dns://:53", zone: str = ".", family: str = "1") -> None:
        self._labels = {"server": server, "zone": zone, "view": ""}
        self._family = family
        self.hits: dict[Hit, int] = {}
        """Quick answers by UDP and TCP since the last look."""
        self.searched = 0
        """Answers that were found on the way of a search."""
        self.reloads_failed = 0
        self.configuration_hash = ""
        self.programming = Observed(PROGRAMMING_SECONDS)
        self._requests: dict[tuple[str, str], int] = {}
        self._responses: dict[tuple[str, str], int] = {}
        self._durations: dict[str, Observed] = {}
        self._request_sizes: dict[str, Observed] = {}
        self._response_sizes: dict[str, Observed] = {}

    # counting

    def answered(self, kind: int, size: int, made: int, code: int, by: str, udp: bool, seconds: float) -> None:
        """Count an answer that did not go the quick way."""
        name = wire.TYPES.get(kind, "other")
        self._count(name, size, made, udp)
        said = wire.CODES[code] if code < len(wire.CODES) else str(code)
        self._add(self._responses, (said, by))
        self._observed(self._durations, name, SECONDS).observe(seconds)

    def dropped(self, code: int, size: int, *, udp: bool) -> None:
        """Count a query that came into no block."""
        self._count("other", size, wire.HEADER_SIZE, udp)
        self._add(self._responses, (wire.CODES[code] if code < len(wire.CODES) else str(code), ""))

    def batch(self, count: int, seconds: float) -> None:
        """Count the time of quick answers that were made in one go."""
        self._observed(self._durations, "A", SECONDS).observe(seconds / count, count)
        if len(self.hits) > MOST_HITS:
            self._spread()

    def _spread(self) -> None:
        hits, copy = self.hits, list(self.hits.items())
        hits.clear()
        for (kind, size, made), times in copy:
            name = wire.TYPES.get(int.from_bytes(kind), "other")
            self._count(name, size, made, True, times)
            self._add(self._responses, ("NOERROR", "kubernetes"), times)

    def _count(self, name: str, size: int, made: int, udp: bool, times: int = 1) -> None:
        proto = "udp" if udp else "tcp"
        self._add(self._requests, (proto, name), times)
        self._observed(self._request_sizes, proto, SIZES).observe(size, times)
        self._observed(self._response_sizes, proto, SIZES).observe(made, times)

    @staticmethod
    def _add(table: dict[tuple[str, str], int], key: tuple[str, str], times: int = 1) -> None:
        table[key] = table.get(key, 0) + times

    @staticmethod
    def _observed(table: dict[str, Observed], key: str, bounds: Sequence[float]) -> Observed:
        return table.get(key) or table.setdefault(key, Observed(bounds))

    def log(self, query: wire.Query, source: Ip, udp: bool, size: int, code: int, made: int, seconds: float) -> None:
        """Write a query as CoreDNS's ``log`` does."""
        kind = wire.TYPES.get(query.type, f"TYPE{query.type}")
        said = wire.CODES[code] if code < len(wire.CODES) else str(code)
        queries.info(
            '%s - %d "%s IN %s. %s %d %s %d" %s %d %.9fs',
            source, query.identity, kind, wire.wire_to_name(query.name), "udp" if udp else "tcp", size,
            str(query.dnssec_ok).lower(), query.udp_size, said, made, seconds,
        )  # fmt: skip

    # showing

    def families(self, responder: Responder) -> Iterator[Family | HistogramFamily]:
        self._spread()
        labels, name = self._labels, "coredns_dns_"
        yield gauge("coredns_build_info", "What is running.", [Sample({"version": f"sampan-{version('sampan')}"}, 1)])
        yield counter(
            f"{name}requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            [
                Sample({**labels, "proto": proto, "family": self._family, "type": kind}, n)
                for (proto, kind), n in sorted(self._requests.items())
            ],
        )
        yield counter(
            f"{name}responses_total",
            "Counter of response status codes.",
            [Sample({**labels, "rcode": code, "plugin": by}, n) for (code, by), n in sorted(self._responses.items())],
        )
        for what, key, table in (
            ("request_duration_seconds", "type", self._durations),
            ("request_size_bytes", "proto", self._request_sizes),
            ("response_size_bytes", "proto", self._response_sizes),
        ):
            shown = [one.shown({**labels, key: value}) for value, one in sorted(table.items())]
            yield HistogramFamily(f"{name}{what}", f"Histogram of {what.replace('_', ' ')}.", shown)
        server = {"server": labels["server"]}
        yield counter("coredns_autopath_success_total", "Searches answered at once.", [Sample(server, self.searched)])
        yield counter("coredns_reload_failed_total", "Failed reloads.", [Sample({}, self.reloads_failed)])
        if self.configuration_hash:
            info = {"hash": "sha512", "value": self.configuration_hash}
            yield gauge("coredns_reload_version_info", "The Corefile in force.", [Sample(info, 1)])
        yield HistogramFamily(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "How long after its cause a change of endpoints is live.",
            [self.programming.shown({"service_kind": "headless_with_selector"})]
            if any(self.programming.counts)
            else [],
        )
        yield gauge(
            "coredns_hosts_entries",
            "Entries of hosts.",
            [Sample({}, way.hosts.entries) for way in responder.ways if way.hosts is not None][:1],
        )
        yield from _caches(responder, server)
        yield from _forwards(responder)


def _caches(responder: Responder, server: dict[str, str]) -> Iterable[Family]:
    named = [
        (way.forwarder.cache, {**server, "zones": wire.wire_to_name(way.block.zones[0]) + ".", "view": ""})
        for way in responder.ways
        if way.forwarder is not None and way.forwarder.cache is not None
    ]
    name = "coredns_cache_"
    for what, table in (("hits", "hits"), ("evictions", "evictions")):
        yield counter(
            f"{name}{what}_total",
            f"The count of cache {what}.",
            [
                Sample({**labels, "type": kind}, n)
                for one, labels in named
                for kind, n in getattr(one.counts, table).items()
            ],
        )
    yield gauge(
        f"{name}entries",
        "The number of elements in the cache.",
        [Sample({**labels, "type": kind}, len(t)) for one, labels in named for kind, t in one.tables.items()],
    )
    for what, field in (("requests", "requests"), ("prefetch", "prefetches"), ("served_stale", "stale")):
        yield counter(
            f"{name}{what}_total",
            f"The count of cache {what.replace('_', ' ')}.",
            [Sample(labels, getattr(one.counts, field)) for one, labels in named],
        )


def _forwards(responder: Responder) -> Iterable[Family | HistogramFamily]:
    lines = [line for way in responder.ways if way.forwarder is not None for line in way.forwarder.lines]
    upstreams = [upstream for line in lines for upstream in line.upstreams.all]
    proxy = {"proxy_name": "forward"}
    yield HistogramFamily(
        "coredns_proxy_request_duration_seconds",
        "How long resolvers took.",
        [
            observed.shown({**proxy, "to": str(upstream.address), "rcode": code})
            for upstream in upstreams
            for code, observed in sorted(upstream.answered.items())
        ],
    )
    yield counter(
        "coredns_proxy_healthcheck_failures_total",
        "Failed health checks.",
        [Sample({**proxy, "to": str(upstream.address)}, upstream.failed_checks) for upstream in upstreams],
    )
    broken, rejected = sum(line.upstreams.broken for line in lines), sum(line.rejected for line in lines)
    yield counter("coredns_forward_healthcheck_broken_total", "Times all were down.", [Sample({}, broken)])
    yield counter("coredns_forward_max_concurrent_rejects_total", "Queries rejected.", [Sample({}, rejected)])


def counter(name: str, help: str, samples: list[Sample]) -> Family:
    return Family(name, "counter", help, samples)


def gauge(name: str, help: str, samples: list[Sample]) -> Family:
    return Family(name, "gauge", help, samples)
