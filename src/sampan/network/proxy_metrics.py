"""What ``/metrics`` shows of the Service proxy, under kube-proxy's names, and whether it keeps up.

The proxy is well while what it was told of is in the kernel within ``LATE_SECONDS``.
Source: pkg/proxy/metrics, pkg/proxy/healthcheck/proxier_health.go.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sampan.api.metrics.exposition import Family, HistogramFamily, Sample
from sampan.api.metrics.observed import Observed
from sampan.network.services import NOTHING, ServiceRules
from sampan.schema.objects import Object

LATE_SECONDS = 60.0
SYNC_SECONDS = tuple(0.001 * 2**n for n in range(15))
PROGRAMMING_SECONDS = (
    0.0, 0.25, 0.5, *(float(n) for n in range(1, 60)), *(float(n) for n in range(60, 120, 5)),
    *(float(n) for n in range(120, 330, 30)),
)  # fmt: skip
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
POLICIES = ("internal", "external")


class ProxyMetrics:
    """Counts of one proxy: filled by its loop, read when somebody looks."""

    def __init__(self) -> None:
        self.service_changes = self.endpoint_changes = self.failures = 0
        self._synced_changes = (0, 0)
        self._sync, self._whole, self._partial = (Observed(SYNC_SECONDS) for _ in range(3))
        self._programming = Observed(PROGRAMMING_SECONDS)
        self._triggers: list[float] = []
        self._begun = time.time()
        self._last_queued = self._last_synced = 0.0
        self._waiting_since = 0.0
        self._without_local: dict[str, set[str]] = {policy: set() for policy in POLICIES}
        self.probes: Counter[tuple[str, int]] = Counter()
        """How often ``healthz`` and ``livez`` answered what."""

    def queued(self, now: float) -> None:
        """Note that there is something to bring into the kernel (``now``: seconds since the epoch)."""
        self._last_queued = now
        self._waiting_since = self._waiting_since or now

    def triggered(self, piece: Object) -> None:
        """Note when that happened which an EndpointSlice tells of."""
        text = (piece["metadata"].get("annotations") or {}).get(TRIGGERED, "")
        try:
            happened = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp()
        except ValueError:
            return
        if happened > self._begun:  # what was before says nothing of this proxy
            self._triggers.append(happened)

    def synced(self, seconds: float, now: float, whole: bool, changed: Mapping[str, ServiceRules]) -> None:
        """Note that what was queued is in the kernel, ``seconds`` after its turn came."""
        self._sync.observe(seconds)
        (self._whole if whole else self._partial).observe(seconds)
        self._last_synced, self._waiting_since = now, 0.0
        self._synced_changes = (self.service_changes, self.endpoint_changes)
        for trigger in self._triggers:
            self._programming.observe(max(now - trigger, 0.0))
        self._triggers.clear()
        for key, rules in changed.items():
            for policy, keys in self._without_local.items():
                if rules != NOTHING and policy in rules.without_local:
                    keys.add(key)
                else:
                    keys.discard(key)

    @property
    def healthy(self) -> bool:
        return not self._waiting_since or time.time() - self._waiting_since < LATE_SECONDS

    @property
    def last_updated(self) -> float:
        """When the kernel was last brought up to date; now, while nothing is late."""
        return time.time() if self.healthy else self._last_synced

    def families(self) -> Iterable[Family | HistogramFamily]:
        pending = (
            self.service_changes - self._synced_changes[0],
            self.endpoint_changes - self._synced_changes[1],
        )
        for name, help, observed in (
            ("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", self._sync),
            (
                "sync_full_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for full resyncs",
                self._whole,
            ),
            ("sync_partial_proxy_rules_duration_seconds", "The same for partial resyncs", self._partial),
            ("network_programming_duration_seconds", "In Cluster Network Programming Latency", self._programming),
        ):
            yield HistogramFamily(f"kubeproxy_{name}", help, list(observed.histograms()))
        for name, kind, help, value in (
            (
                "last_timestamp_seconds",
                "gauge",
                "The last time proxy rules were successfully synced",
                self._last_synced,
            ),
            (
                "last_queued_timestamp_seconds",
                "gauge",
                "The last time a sync of proxy rules was queued",
                self._last_queued,
            ),
            ("service_changes_pending", "gauge", "Pending proxy rules Service changes", pending[0]),
            ("service_changes_total", "counter", "Cumulative proxy rules Service changes", self.service_changes),
            ("endpoint_changes_pending", "gauge", "Pending proxy rules Endpoint changes", pending[1]),
            ("endpoint_changes_total", "counter", "Cumulative proxy rules Endpoint changes", self.endpoint_changes),
            ("nftables_sync_failures_total", "counter", "Cumulative proxy nftables sync failures", self.failures),
        ):
            yield Family(f"kubeproxy_sync_proxy_rules_{name}", kind, help, [Sample({}, value)])
        yield Family(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
            "gauge",
            "Number of services with a Local traffic policy and no endpoints",
            [Sample({"traffic_policy": policy}, len(keys)) for policy, keys in self._without_local.items()],
        )
        for probe in ("healthz", "livez"):
            answers = [
                Sample({"code": str(code)}, n) for (name, code), n in sorted(self.probes.items()) if name == probe
            ]
            yield Family(f"kubeproxy_proxy_{probe}_total", "counter", f"Cumulative proxy {probe} HTTP status", answers)
