"""What a Job's pods amount to: the counts, and whether the Job ends by them. Pure.

A pod carries a finalizer until its end has been counted: only pods that still have it, and whose uid the status does not
note as counted already, are new. Source: KEP-2307 (tracking with finalizers), KEP-3939 (podReplacementPolicy); kubernetes
pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sampan.controllers.job_indexes import failures_of, index_of, parsed
from sampan.controllers.job_policies import success_of, verdict_on
from sampan.controllers.ownership import condition_of, is_pod_active, is_pod_ready
from sampan.schema.durations import parse_time, seconds_since
from sampan.schema.objects import Object

TRACKING = "batch.kubernetes.io/job-tracking"
FIRST_BACKOFF_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 600.0
MET, TARGET = "SuccessCriteriaMet", "FailureTarget"
FINAL = {MET: "Complete", TARGET: "Failed"}
"""The condition that ends a Job, by the one that announces it."""


class End(NamedTuple):
    """How a Job ends: the condition that announces it."""

    type: str
    reason: str
    message: str


def phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def is_tracked(pod: Object) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def is_terminating(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] and phase(pod) not in ("Succeeded", "Failed")


def is_finished(job: Object) -> bool:
    return any((condition_of(job, type) or {}).get("status") == "True" for type in ("Complete", "Failed"))


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def waits_for_phase(job: Object) -> bool:
    """Whether a pod that is being deleted is replaced, and counted, only once it has failed for good."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def has_failed(job: Object, pod: Object) -> bool:
    if phase(pod) == "Failed":
        return True
    if waits_for_phase(job):
        return False
    return "deletionTimestamp" in pod["metadata"] and phase(pod) != "Succeeded"


@dataclass
class View:
    """One look at a Job's pods. ``removed``: uids whose finalizer we took away, which the informer may still show."""

    job: Object
    pods: list[Object]
    removed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        job, spec = self.job, self.job["spec"]
        status = job.get("status") or {}
        noted = status.get("uncountedTerminatedPods") or {}
        self.completions: int | None = spec.get("completions")
        self.noted_succeeded = set(noted.get("succeeded") or ())
        self.noted_failed = set(noted.get("failed") or ())
        # of a Job that has run for long most pods are over and counted: they are looked at once
        unsettled = [pod for pod in self.pods if phase(pod) not in ("Succeeded", "Failed") or is_tracked(pod)]
        self.active = [pod for pod in unsettled if is_pod_active(pod)]
        self.ready = sum(1 for pod in self.active if is_pod_ready(pod))
        self.terminating = sum(1 for pod in unsettled if is_terminating(pod))
        self.tracked = [pod for pod in unsettled if is_tracked(pod) and pod["metadata"]["uid"] not in self.removed]
        done = [p for p in self.tracked if phase(p) == "Succeeded" and self.is_new(p, self.noted_succeeded)]
        self.new_failed = [p for p in self.tracked if has_failed(job, p) and self.is_new(p, self.noted_failed)]
        counted = [pod for pod in self.new_failed if verdict_on(job, pod).counts]
        self.failed = status.get("failed", 0) + len(counted) + len(self.noted_failed)
        self.before: set[int] = set()
        self.indexes: set[int] = set()
        self.failed_indexes: set[int] | None = None
        if is_indexed(job):
            self.before = parsed(status.get("completedIndexes"), self.completions or 0)
            self.indexes = self.before | {index for pod in done if (index := index_of(pod)) is not None}
            self.succeeded = len(self.indexes)
            if spec.get("backoffLimitPerIndex") is not None:
                self.failed_indexes = self._failed_indexes(status.get("failedIndexes"))
        else:
            self.succeeded = status.get("succeeded", 0) + len(done) + len(self.noted_succeeded)
        self.kept = self._kept()

    def has_index(self, pod: Object) -> bool:
        """Whether a pod's end means something: without indexes always, else where its index is one of the Job's."""
        if not is_indexed(self.job):
            return True
        index = index_of(pod)
        return index is not None and index < (self.completions or 0)

    def is_new(self, pod: Object, noted: set[str]) -> bool:
        return pod["metadata"]["uid"] not in noted and self.has_index(pod)

    def _failed_indexes(self, before: str | None) -> set[int]:
        limit = self.job["spec"]["backoffLimitPerIndex"]
        found = parsed(before, self.completions or 0)
        for pod in self.tracked:
            if not has_failed(self.job, pod) or not self.has_index(pod):
                continue
            verdict = verdict_on(self.job, pod)
            if verdict.action == "FailIndex" or (verdict.counts and failures_of(pod) >= limit):
                found.add(index_of(pod) or 0)
        return found - self.indexes

    def _kept(self) -> dict[int, Object]:
        """Return index → the failed pod that stays until its successor is made: it carries the count of failures."""
        if self.failed_indexes is None:
            return {}
        over = self.indexes | self.failed_indexes | {index_of(pod) for pod in self.active}
        found: dict[int, Object] = {}
        for pod in self.tracked:
            index = index_of(pod)
            if index is None or index in over or not has_failed(self.job, pod) or not self.has_index(pod):
                continue
            other = found.get(index)
            if other is None or generation(pod) > generation(other):
                found[index] = pod
        return found

    # whether it ends

    def end(self) -> End | None:
        """Return how the Job ends, for what its pods and its time say; None while it goes on."""
        for type in (MET, TARGET):
            announced = condition_of(self.job, type)
            if announced is not None and announced["status"] == "True":
                return End(type, announced.get("reason", ""), announced.get("message", ""))
        return self._failure() or self._failure_of_indexes() or self._success_by_policy()

    def _failure(self) -> End | None:
        spec = self.job["spec"]
        if spec.get("podFailurePolicy") is not None:
            for pod in self.pods:
                message = verdict_on(self.job, pod).message if has_failed(self.job, pod) else ""
                if message:
                    return End(TARGET, "PodFailurePolicy", message)
        if self.failed > limit_of(self.job) or restarts_exceed(self.job, self.pods):
            return End(TARGET, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        left = seconds_left(self.job)
        if left is not None and left <= 0:
            return End(TARGET, "DeadlineExceeded", "Job was active longer than specified deadline")
        return None

    def _failure_of_indexes(self) -> End | None:
        if self.failed_indexes is None:
            return None
        most, lost = self.job["spec"].get("maxFailedIndexes"), len(self.failed_indexes)
        if most is not None and lost > most:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return End(TARGET, "MaxFailedIndexesExceeded", message)
        if lost and lost + len(self.indexes) >= (self.completions or 0):
            return End(TARGET, "FailedIndexes", "Job has failed indexes")
        return None

    def _success_by_policy(self) -> End | None:
        message = success_of(self.job, self.indexes) if is_indexed(self.job) else ""
        return End(MET, "SuccessPolicy", message) if message else None

    def completed(self, active: int) -> End | None:
        """Return the end of a Job that has reached what it was to reach."""
        if self.completions is None:
            done = self.succeeded > 0 and active == 0
        else:
            done = self.succeeded >= self.completions and active == 0
        message = "Reached expected number of succeeded pods"
        return End(MET, "CompletionsReached", message) if done else None


def generation(pod: Object) -> tuple[int, str]:
    return failures_of(pod), pod["metadata"].get("creationTimestamp", "")


def limit_of(job: Object) -> int:
    limit: int = job["spec"].get("backoffLimit", 6)
    return limit


def restarts_exceed(job: Object, pods: Iterable[Object]) -> bool:
    """Whether containers were restarted in their pods too often (restartPolicy OnFailure)."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    count = 0
    for pod in pods:
        if phase(pod) in ("Running", "Pending"):
            status = pod.get("status", {})
            for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
                count += one.get("restartCount", 0)
    limit = limit_of(job)
    return count > 0 if limit == 0 else count >= limit


def seconds_left(job: Object) -> float | None:
    """Return how long a Job may still run, None where nothing says."""
    deadline, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if deadline is None or not started or is_suspended(job):
        return None
    return float(deadline - seconds_since(started))


# back-off


def finish_of(pod: Object) -> float:
    """Return when a pod ended: the last of its containers, else its deletion, else its creation."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    ends = [(one.get("state") or {}).get("terminated", {}).get("finishedAt") for one in statuses]
    moments = [parse_time(end) for end in ends if end]
    known = [moment.timestamp() for moment in moments if moment is not None]
    if known and len(known) == len(statuses):
        return max(known)
    metadata = pod["metadata"]
    moment = parse_time(metadata.get("deletionTimestamp") or metadata["creationTimestamp"])
    return moment.timestamp() if moment else 0.0


def pause_after(failures: int) -> float:
    return 0.0 if failures <= 0 else min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF_SECONDS)


def backoff_left(job: Object, pods: Iterable[Object], now: float) -> float:
    """Return the seconds until a Job may start another pod: 10 s after its first failure, doubling with each that no
    success came after, at most 10 min."""
    ended = [
        (finish_of(pod), has_failed(job, pod)) for pod in pods if phase(pod) == "Succeeded" or has_failed(job, pod)
    ]
    last_success = max((at for at, failed in ended if not failed), default=float("-inf"))
    failures = [at for at, failed in ended if failed and at > last_success]
    return max(failures) + pause_after(len(failures)) - now if failures else 0.0


def backoff_of_index(pod: Object, now: float) -> float:
    """Return the seconds until the index of a failed pod may be tried again."""
    return finish_of(pod) + pause_after(failures_of(pod) + 1) - now
