"""What the Job controller counts, under Kubernetes' names. Source: kubernetes pkg/controller/job/metrics."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.metrics.exposition import Family, Histogram, HistogramFamily, Sample
from sampan.schema.objects import Object

Labels = tuple[tuple[str, str], ...]
BOUNDS = tuple(0.004 * 2**step for step in range(15))


class Counter:
    """A number for each set of labels."""

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help = f"job_controller_{name}", help
        self.values: dict[Labels, int] = {}

    def add(self, amount: int, **labels: str) -> None:
        if amount:
            key = tuple(sorted(labels.items()))
            self.values[key] = self.values.get(key, 0) + amount

    def family(self) -> Family:
        return Family(self.name, "counter", self.help, [Sample(dict(key), n) for key, n in sorted(self.values.items())])


SYNCS = Counter("job_syncs_total", "[STABLE] The number of job syncs")
FINISHED = Counter("jobs_finished_total", "[STABLE] The number of finished jobs")
PODS_FINISHED = Counter("job_pods_finished_total", "[STABLE] The number of finished Pods that are fully tracked")
PODS_TRACKED = Counter(
    "terminated_pods_tracking_finalizer_total",
    "[ALPHA] The number of terminated pods (phase=Failed|Succeeded) that have the finalizer "
    "batch.kubernetes.io/job-tracking.",
)
PODS_CREATED = Counter("job_pods_creation_total", "[ALPHA] The number of Pods created by the Job controller")
POLICY = Counter(
    "pod_failures_handled_by_failure_policy_total",
    "[ALPHA] The number of failed Pods handled by failure policy with respect to the failure policy action applied",
)
INDEXES = Counter("job_finished_indexes_total", "[ALPHA] The number of finished indexes.")
COUNTERS = (SYNCS, FINISHED, PODS_FINISHED, PODS_TRACKED, PODS_CREATED, POLICY, INDEXES)
durations: dict[Labels, tuple[list[int], float]] = {}


def mode_of(job: Object) -> str:
    return str(job["spec"].get("completionMode") or "NonIndexed")


def sync(job: Object, action: str, result: str, seconds: float) -> None:
    """A look at a Job has ended."""
    labels = {"completion_mode": mode_of(job), "result": result, "action": action}
    SYNCS.add(1, **labels)
    key = tuple(sorted(labels.items()))
    counts, total = durations.get(key, ([0] * (len(BOUNDS) + 1), 0.0))
    counts[next((number for number, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
    durations[key] = (counts, total + seconds)


def pod_finished(job: Object, pod: Object, action: str) -> None:
    """A pod's end has been counted."""
    succeeded = pod.get("status", {}).get("phase") == "Succeeded"
    PODS_FINISHED.add(1, completion_mode=mode_of(job), result="succeeded" if succeeded else "failed")
    if action and not succeeded:
        POLICY.add(1, action=action)


def job_finished(job: Object, final: str, reason: str) -> None:
    """A Job has ended."""
    result = "succeeded" if final == "Complete" else "failed"
    FINISHED.add(1, completion_mode=mode_of(job), result=result, reason=reason)
    if mode_of(job) == "Indexed":
        limit = "perIndex" if job["spec"].get("backoffLimitPerIndex") is not None else "global"
        INDEXES.add(job["status"].get("succeeded", 0), status="succeeded", backoffLimit=limit)


def families() -> Iterator[Family | HistogramFamily]:
    """Yield everything for ``/metrics``."""
    for counter in COUNTERS:
        yield counter.family()
    yield HistogramFamily(
        "job_controller_job_sync_duration_seconds",
        "[STABLE] The time it took to sync a job",
        [Histogram(dict(key), BOUNDS, counts, total) for key, (counts, total) in sorted(durations.items())],
    )
