"""Counts and durations of what happens now and then: declared once here, kept by whoever observes, shown by the page.

What every request would pay for (a plugin's time, the size of an answer) is only kept once somebody has looked at
``/metrics``: ``watched`` tells. Counters begin at 0 then, as Prometheus expects of a process that has just started.
Source: kubernetes test/instrumentation/documentation; k8s.io/apiserver pkg/admission/metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from sampan.api.metrics.exposition import Family, Histogram, HistogramFamily, Sample

ADMISSION = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
WEBHOOK = (*ADMISSION, 10.0, 25.0)
POLICY = (0.0000005, 0.001, 0.01, 0.1, 1.0)
ANSWER_BYTES = tuple(1000.0 * 10**n for n in range(8))
EVENT_BYTES = tuple(1024.0 * 2**n for n in range(8))
EXPIRATION = (
    0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0, 604800.0, 2592000.0, 7776000.0,
    15552000.0, 31104000.0,
)  # fmt: skip


class Declared(NamedTuple):
    """A metric: its labels, and the bounds of its buckets where it is a histogram."""

    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


STEP = ("type", "operation", "rejected")
NAMED = ("name", *STEP)
BY_POLICY = ("policy", "policy_binding", "error_type")
REQUEST = ("verb", "group", "version", "resource", "subresource", "scope")
DECLARED: dict[str, Declared] = {
    "apiserver_admission_step_admission_duration_seconds": Declared("Time of a whole step.", STEP, ADMISSION),
    "apiserver_admission_controller_admission_duration_seconds": Declared("Time of a plugin.", NAMED, ADMISSION),
    "apiserver_admission_webhook_admission_duration_seconds": Declared("Time of a webhook.", NAMED, WEBHOOK),
    "apiserver_admission_webhook_request_total": Declared(
        "Webhooks asked.", ("name", "type", "operation", "code", "rejected")
    ),
    "apiserver_admission_webhook_rejection_count": Declared(
        "Webhooks that refused.", ("name", "type", "operation", "error_type", "rejection_code")
    ),
    "apiserver_admission_webhook_fail_open_count": Declared("Webhooks that failed and may.", ("name", "type")),
    "apiserver_admission_match_condition_exclusions_total": Declared(
        "Webhooks left out by their conditions.", ("name", "kind", "type", "operation")
    ),
    "apiserver_admission_match_condition_evaluation_errors_total": Declared(
        "Match conditions that failed.", ("name", "kind", "type", "operation")
    ),
    "apiserver_validating_admission_policy_check_total": Declared("Policies held.", (*BY_POLICY, "enforcement_action")),
    "apiserver_validating_admission_policy_check_duration_seconds": Declared(
        "Time of a policy.", (*BY_POLICY, "enforcement_action"), POLICY
    ),
    "apiserver_mutating_admission_policy_check_total": Declared("Policies applied.", BY_POLICY),
    "apiserver_mutating_admission_policy_check_duration_seconds": Declared("Time of a policy.", BY_POLICY, POLICY),
    "apiserver_request_terminations_total": Declared(
        "Requests ended by the server.", ("code", "component", *REQUEST)
    ),
    "apiserver_response_sizes": Declared("Sizes of answers.", ("component", *REQUEST), ANSWER_BYTES),
    "apiserver_watch_events_sizes": Declared("Sizes of events sent.", ("group", "version", "resource"), EVENT_BYTES),
    "apiserver_client_certificate_expiration_seconds": Declared("How long certificates still last.", (), EXPIRATION),
    "kubernetes_healthchecks_total": Declared("How health checks went.", ("name", "status", "type")),
    "authentication_attempts": Declared("Who could be told.", ("result",)),
    "authorization_attempts_total": Declared("What was allowed.", ("result",)),
}  # fmt: skip


class Measured:
    """The counts of one API."""

    def __init__(self) -> None:
        self.watched = False
        """Whether somebody looks."""
        self._counts: dict[str, dict[tuple[str, ...], int]] = {}
        self._observed: dict[str, dict[tuple[str, ...], tuple[list[int], list[float]]]] = {}

    def count(self, name: str, *labels: str, more: int = 1) -> None:
        """Count something that has happened."""
        counts = self._counts.setdefault(name, {})
        counts[labels] = counts.get(labels, 0) + more

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a duration or a size into its bucket."""
        series = self._observed.setdefault(name, {})
        found = series.get(labels)
        if found is None:
            found = series[labels] = ([0] * (len(DECLARED[name].buckets) + 1), [0.0])
        found[0][bisect_left(DECLARED[name].buckets, value)] += 1
        found[1][0] += value

    def families(self, *, of: tuple[str, ...] = ()) -> Iterator[Family | HistogramFamily]:
        """Yield what was counted; ``of``: those names only."""
        for name, counts in sorted(self._counts.items()):
            if of and name not in of:
                continue
            samples = [
                Sample(dict(zip(DECLARED[name].labels, labels, strict=True)), count) for labels, count in counts.items()
            ]
            yield Family(name, "counter", DECLARED[name].help, samples)
        for name, series in sorted(self._observed.items()) if not of else ():
            declared = DECLARED[name]
            histograms = [
                Histogram(dict(zip(declared.labels, labels, strict=True)), declared.buckets, counts, total[0])
                for labels, (counts, total) in series.items()
            ]
            yield HistogramFamily(name, declared.help, histograms)
