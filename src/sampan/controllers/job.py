"""Job: runs pods until enough have succeeded, or too many have failed, or time is over.

Non-indexed and indexed completion, parallelism, backoffLimit with growing pauses, activeDeadlineSeconds, suspend,
ttlSecondsAfterFinished. Pods are counted from the informer; the tracking finalizer of Kubernetes is not used, so a
finished pod that somebody deletes before it was counted is made again. Source: batch/v1 Job.
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import JOBS
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import (
    BY_OWNER,
    condition_of,
    controller_uid,
    is_pod_active,
    is_pod_ready,
    owned_by,
    owner_keys,
    with_condition,
)
from sampan.controllers.pod_control import PodControl, expectation_observer, pod_of, random_suffix
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object

INDEX = "batch.kubernetes.io/job-completion-index"
FIRST_BACKOFF_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 600.0


class Plan(NamedTuple):
    """What is to be done: indexes to start (None: without index), pods to end, and how the Job ends, if it does."""

    start: list[int | None]
    end: list[Object]
    finish: tuple[str, str, str] | None
    """``(condition type, reason, message)``."""


def phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def index_of(pod: Object) -> int | None:
    value = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return int(value) if value is not None and value.isdecimal() else None


def desired(job: Object, pods: list[Object]) -> Plan:
    """Return what the Job needs next."""
    spec = job["spec"]
    active = [pod for pod in pods if is_pod_active(pod)]
    succeeded, failed = succeeded_of(job, pods), [pod for pod in pods if phase(pod) == "Failed"]
    restarts = sum(restart_count(pod) for pod in active) if restarts_in_place(job) else 0
    if len(failed) + restarts > spec.get("backoffLimit", 6):
        message = "Job has reached the specified backoff limit"
        return Plan([], active, ("Failed", "BackoffLimitExceeded", message))
    started = job.get("status", {}).get("startTime")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and started and not spec.get("suspend") and seconds_since(started) >= deadline:
        message = "Job was active longer than specified deadline"
        return Plan([], active, ("Failed", "DeadlineExceeded", message))
    completions = spec.get("completions")
    if completions is None:
        done = succeeded > 0 and not active
    else:
        done = succeeded >= completions
    if done:
        return Plan([], active, ("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
    if spec.get("suspend"):
        return Plan([], active, None)
    parallelism = spec.get("parallelism", 1)
    if completions is None:
        wanted = len(active) if succeeded else parallelism
    else:
        wanted = min(parallelism, completions - succeeded)
    if len(active) > wanted:
        return Plan([], sorted(active, key=is_pod_ready)[: len(active) - wanted], None)
    missing = wanted - len(active)
    if spec.get("completionMode") == "Indexed":
        taken = {index_of(pod) for pod in pods if is_pod_active(pod) or phase(pod) == "Succeeded"}
        free = [index for index in range(completions or 0) if index not in taken]
        return Plan(list(free[:missing]), [], None)
    return Plan([None] * missing, [], None)


def succeeded_of(job: Object, pods: list[Object]) -> int:
    """Return how many completions there are: pods, or distinct indexes."""
    done = [pod for pod in pods if phase(pod) == "Succeeded"]
    if job["spec"].get("completionMode") == "Indexed":
        return len({index_of(pod) for pod in done} - {None})
    return len(done)


def restarts_in_place(job: Object) -> bool:
    return bool(job["spec"]["template"]["spec"].get("restartPolicy") == "OnFailure")


def restart_count(pod: Object) -> int:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return sum(int(status.get("restartCount", 0)) for status in statuses)


def finished(job: Object) -> bool:
    return any(
        (condition := condition_of(job, type)) is not None and condition["status"] == "True"
        for type in ("Complete", "Failed")
    )


def status_of(job: Object, pods: list[Object], finish: tuple[str, str, str] | None, now: str) -> Object:
    """Return the Job's status."""
    active = [] if finish else [pod for pod in pods if is_pod_active(pod)]
    counts = {
        "active": len(active),
        "succeeded": succeeded_of(job, pods),
        "failed": sum(1 for pod in pods if phase(pod) == "Failed"),
        "terminating": sum(1 for pod in pods if "deletionTimestamp" in pod["metadata"]),
    }
    old = job.get("status", {})
    for name in ("succeeded", "failed"):  # what has happened stays so, although its pod may go
        counts[name] = max(counts[name], old.get(name, 0))
    status: Object = {name: count for name, count in counts.items() if count}
    status["ready"] = sum(1 for pod in active if is_pod_ready(pod))
    conditions = list(old.get("conditions") or ())
    suspended = bool(job["spec"].get("suspend"))
    if suspended or condition_of(job, "Suspended") is not None:
        reason, message = ("JobSuspended", "Job suspended") if suspended else ("JobResumed", "Job resumed")
        new = {"type": "Suspended", "status": str(suspended), "reason": reason, "message": message}
        before = condition_of(job, "Suspended")
        if before is None or before["status"] != new["status"]:
            conditions = with_condition(conditions, {**new, "lastProbeTime": now}, now)
    if finish or not suspended:
        status["startTime"] = old.get("startTime") or now
    if job["spec"].get("completionMode") == "Indexed":
        done = sorted({i for pod in pods if phase(pod) == "Succeeded" and (i := index_of(pod)) is not None})
        if done:
            status["completedIndexes"] = ranges(done)
    if finish is not None:
        type, reason, message = finish
        before_last = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[type]
        for name in (before_last, type):
            new = {"type": name, "status": "True", "reason": reason, "message": message, "lastProbeTime": now}
            conditions = with_condition(conditions, new, now)
        if type == "Complete":
            status["completionTime"] = now
    if conditions:
        status["conditions"] = conditions
    return status


def ranges(numbers: list[int]) -> str:
    """Return ``1,3-5`` for 1, 3, 4, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


class JobController(Controller):
    name = "job-controller"

    def __init__(self, client: Client, jobs: Informer, pods: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.jobs = jobs
        self.pods = pods
        self.events = events
        self.expectations = Expectations()
        self.pod_control = PodControl(client, events, self.expectations)
        pods.add_index(BY_OWNER, controller_uid)
        pods.add_handler(expectation_observer(self.expectations, "Job"))
        self.watch(jobs)
        self.watch(pods, owner_keys("Job"))

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.get(key)
        if job is None or "deletionTimestamp" in job["metadata"]:
            self.expectations.forget(key)
            return None
        if finished(job):
            return await self._expire(job)
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS
        pods = owned_by(self.pods, job)
        plan = desired(job, pods)
        wait = backoff_left(pods) if plan.start else 0.0
        if wait <= 0 and plan.start:
            try:
                await self.pod_control.create(key, job, [self._pod(job, index) for index in plan.start])
            except ApiError:  # the Job has begun all the same: its deadline counts from now
                await self._write_status(job, status_of(job, owned_by(self.pods, job), None, timestamp()))
                raise
        await self.pod_control.delete(key, job, plan.end)
        status = status_of(job, owned_by(self.pods, job), plan.finish, timestamp())
        await self._write_status(job, status)
        self._tell_suspension(job, status)
        if plan.finish:
            type, reason, message = plan.finish
            if type == "Complete":
                self.events.normal(job, "Completed", "Job completed")
            else:
                self.events.warning(job, reason, message)
            return None
        return self._next_look(job, wait)

    def _pod(self, job: Object, index: int | None) -> Object:
        name = job["metadata"]["name"]
        middle = f"{name}-{index}" if index is not None else name
        pod = pod_of(job, JOBS, f"{middle}-{random_suffix()}")
        metadata = pod["metadata"]
        uid = job["metadata"]["uid"]
        prefix = "batch.kubernetes.io/"
        labels = {f"{prefix}job-name": name, "job-name": name, f"{prefix}controller-uid": uid, "controller-uid": uid}
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        if index is not None:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
            metadata["labels"][INDEX] = str(index)
            hostname = f"{name}-{index}"
            containers = [
                {**c, "env": [*(c.get("env") or ()), {"name": "JOB_COMPLETION_INDEX", "value": str(index)}]}
                for c in pod["spec"]["containers"]
            ]
            pod["spec"] = {"hostname": hostname, **pod["spec"], "containers": containers}
        return pod

    async def _write_status(self, job: Object, status: Object) -> None:
        if status != job.get("status"):
            await self.client.update(JOBS, {**job, "status": status}, subresource="status")

    def _tell_suspension(self, job: Object, status: Object) -> None:
        before = condition_of(job, "Suspended") or {"status": "False"}
        after = condition_of({"status": status}, "Suspended") or before
        if after["status"] != before["status"]:
            suspended = after["status"] == "True"
            self.events.normal(job, "Suspended" if suspended else "Resumed", after["message"])

    def _next_look(self, job: Object, wait: float) -> float | None:
        looks = [wait] if wait > 0 else []
        deadline, started = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
        if deadline is not None:
            looks.append(max(deadline - (seconds_since(started) if started else 0), 0.05))
        return min(looks, default=None)

    async def _expire(self, job: Object) -> float | None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        ends = [c["lastTransitionTime"] for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed")]
        left = ttl - seconds_since(ends[0])
        if left > 0:
            return float(left)
        metadata = job["metadata"]
        try:
            await self.client.delete(
                JOBS, metadata["name"], metadata["namespace"], propagation_policy="Foreground", uid=metadata["uid"]
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
        return None


def backoff_left(pods: list[Object]) -> float:
    """Return the seconds until a failed Job may start another pod: 10 s, doubling with each failure, at most 10 min."""
    failed = [pod for pod in pods if phase(pod) == "Failed"]
    if not failed:
        return 0.0
    moments = [moment for pod in failed for moment in finish_times(pod)]
    pause = min(FIRST_BACKOFF_SECONDS * 2 ** (len(failed) - 1), LONGEST_BACKOFF_SECONDS)
    return pause - seconds_since(max(moments)) if moments else 0.0


def finish_times(pod: Object) -> list[str]:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return [at for s in statuses if (at := s.get("state", {}).get("terminated", {}).get("finishedAt"))]
