"""What ``/metrics`` shows of the scheduler, under kube-scheduler's names. Source: pkg/scheduler/metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sampan.api.metrics.exposition import Family, HistogramFamily, Sample
from sampan.api.metrics.observed import Observed
from sampan.scheduler.plugins.default_preemption import DefaultPreemption

if TYPE_CHECKING:
    from sampan.scheduler.scheduler import Scheduler

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
ATTEMPT_SECONDS = tuple(0.001 * 2**n for n in range(15))
WHOLE_SECONDS = tuple(0.01 * 2**n for n in range(20))
ATTEMPTS = (1, 2, 4, 8, 16)
VICTIMS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts of one scheduler: filled by its loop, read when somebody looks."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.attempts = Observed(ATTEMPT_SECONDS, "profile", "result")
        self.whole = Observed(WHOLE_SECONDS, "attempts")
        self.tries = Observed(ATTEMPTS)

    def families(self) -> Iterable[Family | HistogramFamily]:
        name, queue, cluster = "scheduler_", self._scheduler.queue, self._scheduler.cluster
        yield counter(
            f"{name}schedule_attempts_total",
            "Number of attempts to schedule pods, by the result.",
            [Sample(dict(zip(self.attempts.labels, at, strict=True)), n) for at, n in self.attempts.counts()],
        )
        yield HistogramFamily(
            f"{name}scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (algorithm).",
            list(self.attempts.histograms()),
        )
        yield HistogramFamily(
            f"{name}pod_scheduling_sli_duration_seconds",
            "Latency from a pod's arrival in the queue to its binding.",
            list(self.whole.histograms()),
        )
        yield HistogramFamily(
            f"{name}pod_scheduling_attempts", "Attempts a pod needed to be scheduled.", list(self.tries.histograms())
        )
        yield gauge(
            f"{name}pending_pods",
            "Pending pods, by the part of the queue.",
            [Sample({"queue": part}, n) for part, n in queue.counts().items()],
        )
        yield counter(
            f"{name}queue_incoming_pods_total",
            "Pods added to parts of the queue, by event.",
            [Sample({"queue": part, "event": event}, n) for (part, event), n in sorted(queue.incoming.items())],
        )
        yield gauge(
            f"{name}unschedulable_pods",
            "Pods that wait, by the plugin that refused them.",
            [Sample({"plugin": plugin}, n) for plugin, n in sorted(queue.refusals().items())],
        )
        sizes = {"nodes": len(cluster.nodes), "pods": len(cluster.placed), "assumed_pods": len(cluster.assumed)}
        yield gauge(f"{name}cache_size", "What is kept.", [Sample({"type": kind}, n) for kind, n in sizes.items()])
        yield from self._preemptions()

    def _preemptions(self) -> Iterable[Family | HistogramFamily]:
        plugins = [one for profile in self._scheduler.profiles.values() for one in profile.plugins.values()]
        found = [plugin for plugin in plugins if isinstance(plugin, DefaultPreemption)]
        attempts = sum(plugin.attempts for plugin in found)
        yield counter("scheduler_preemption_attempts_total", "Attempts to make room.", [Sample({}, attempts)])
        victims = Observed(VICTIMS)
        for plugin in found:
            for count, times in plugin.victims.items():
                for _ in range(times):
                    victims.observe(count)
        yield HistogramFamily("scheduler_preemption_victims", "Pods taken by a preemption.", list(victims.histograms()))


def counter(name: str, help: str, samples: list[Sample]) -> Family:
    return Family(name, "counter", help, samples)


def gauge(name: str, help: str, samples: list[Sample]) -> Family:
    return Family(name, "gauge", help, samples)
