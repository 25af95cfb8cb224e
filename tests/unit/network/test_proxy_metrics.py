"""What the Service proxy says of itself: counts under kube-proxy's names, and whether it keeps up."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.metrics.exposition import lines
from sampan.network.proxy_metrics import LATE_SECONDS, TRIGGERED, ProxyMetrics
from sampan.network.services import NOTHING, ServiceRules


def shown(metrics: ProxyMetrics) -> dict[str, str]:
    found = (line.rpartition(" ") for line in lines(metrics.families()) if not line.startswith("#"))
    return {name.removeprefix("kubeproxy_"): value for name, _, value in found}


def piece(text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {TRIGGERED: text}}}


def test_what_waits_and_what_is_done_is_counted() -> None:
    metrics = ProxyMetrics()
    metrics.service_changes, metrics.endpoint_changes = 2, 5
    metrics.queued(time.time())
    before = shown(metrics)
    assert before["sync_proxy_rules_service_changes_pending"] == "2"
    assert before["sync_proxy_rules_endpoint_changes_pending"] == "5"
    metrics.synced(0.003, time.time(), True, {"shop/web": ServiceRules(without_local=frozenset({"external"}))})
    metrics.synced(0.0005, time.time(), False, {})
    after = shown(metrics)
    assert after["sync_proxy_rules_endpoint_changes_pending"] == "0"
    assert after["sync_proxy_rules_endpoint_changes_total"] == "5"
    assert after["sync_proxy_rules_duration_seconds_count"] == "2"
    assert after["sync_full_proxy_rules_duration_seconds_count"] == "1"
    assert after['sync_partial_proxy_rules_duration_seconds_bucket{le="0.001"}'] == "1"
    assert after['sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"}'] == "1"
    metrics.synced(0.001, time.time(), False, {"shop/web": NOTHING})
    assert shown(metrics)['sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"}'] == "0"


def test_a_change_that_waits_too_long_is_no_good_health(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ProxyMetrics()
    begun = time.time()
    assert metrics.healthy, "nothing is to be done"
    metrics.queued(begun)
    metrics.queued(begun + LATE_SECONDS / 2)
    for later, well in ((LATE_SECONDS - 1, True), (LATE_SECONDS + 1, False)):
        monkeypatch.setattr(time, "time", lambda later=later: begun + later)
        assert metrics.healthy is well
    assert metrics.last_updated == 0.0
    metrics.synced(0.1, begun + LATE_SECONDS + 2, False, {})
    assert metrics.healthy and metrics.last_updated == begun + LATE_SECONDS + 1


def test_how_long_a_pods_change_took_is_known_from_what_happened_since_the_start() -> None:
    metrics = ProxyMetrics()
    now = datetime.now(UTC)
    metrics.triggered(piece("2001-01-01T00:00:00Z"))
    metrics.triggered(piece("no time"))
    metrics.triggered({"metadata": {}})
    metrics.triggered(piece(now.replace(year=now.year + 1, month=1, day=1).strftime("%Y-%m-%dT%H:%M:%SZ")))
    metrics.synced(0.1, time.time(), False, {})
    assert shown(metrics)["network_programming_duration_seconds_count"] == "1"
