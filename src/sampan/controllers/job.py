"""Job: runs pods until enough have succeeded, or too many have failed, or time is over; each end is counted exactly once.

Flow of a look: the pods (``job_view``) → how the Job ends, or which pods are made or deleted (``job_plan``) → the status,
with the uids of pods that ended → their finalizers are taken away → the status, with the counts. A crash between two of
these steps leaves what the next look needs. The final condition comes when everything is counted and no pod is still going.
Pods whose Job is gone or done lose their finalizer to ``job_orphans.py``; finished Jobs go by ``ttl_after_finished.py``.
Source: batch/v1 Job; KEP-2307, 2214, 3329, 3850, 3939, 3998, 4368.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import JOBS, PODS
from sampan.controllers import job_metrics as metrics
from sampan.controllers.claiming import ORPHANS, claim, namespace_of_orphan, orphans_owners
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.job_indexes import FAILURES, IGNORED, INDEX
from sampan.controllers.job_plan import New, Plan, plan, settled, tracked, write
from sampan.controllers.job_policies import verdict_on
from sampan.controllers.job_view import (
    FINAL,
    TRACKING,
    End,
    View,
    is_finished,
    is_indexed,
    is_suspended,
    is_tracked,
    seconds_left,
)
from sampan.controllers.ownership import (
    BY_OWNER,
    condition_of,
    controller_of,
    controller_uid,
    is_pod_ready,
    owner_keys,
    with_condition,
)
from sampan.controllers.pod_control import LONGEST_BASE, PodControl, expectation_observer, name_by_chance, pod_of
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

OURS = "kubernetes.io/job-controller"
PREFIX = "batch.kubernetes.io/"
MANY = 200
LONGEST_BATCH_SECONDS = 1.0
"""Kubernetes gathers the changes of every Job's pods for a second; here those of Jobs with many pods, by their number."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
RELEASE = {"$deleteFromPrimitiveList/finalizers": [TRACKING]}


def is_ours(job: Object) -> bool:
    """Whether this controller, and not one that somebody installed, is to run a Job (managedBy)."""
    return job["spec"].get("managedBy") in (None, OURS)


def selector_of(job: Object) -> LabelSelector:
    return label_selector(job["spec"].get("selector"))


async def release(client: Client, pod: Object) -> None:
    """Take a pod's tracking finalizer away. A pod that is gone has none."""
    metadata = pod["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], **RELEASE}}
    try:
        await client.patch(PODS, metadata["name"], patch, metadata["namespace"], type="strategic")
    except ApiError as error:
        if not (error.is_not_found or error.is_conflict):  # a conflict: another pod has the name now
            raise
    else:
        metrics.PODS_TRACKED.add(1, event="delete")


class JobController(Controller):
    name = "job-controller"

    def __init__(
        self, client: Client, jobs: Informer, pods: Informer, events: EventRecorder, *, forgets_start: bool = True
    ) -> None:
        """``forgets_start``: whether a suspended Job has no ``startTime`` (KEP-5440, since 1.36)."""
        super().__init__(client)
        self.forgets_start = forgets_start
        self.jobs, self.pods, self.events = jobs, pods, events
        self.expectations = Expectations()
        self.pod_control = PodControl(client, events, self.expectations)
        self.released: dict[str, set[str]] = {}
        """By Job, the uids of pods whose finalizer we took away and the informer has not seen go."""
        pods.add_index(BY_OWNER, controller_uid)
        pods.add_index(ORPHANS, namespace_of_orphan)
        pods.add_handler(expectation_observer(self.expectations, "Job"))
        pods.add_handler(self._on_pod)
        self.sizes: Counter[str] = Counter()
        """How many pods each Job has, finished ones too."""
        pods.add_handler(self._on_owned)
        self.watch(jobs)
        self.watch(pods, orphans_owners(jobs, selector_of))

    def _on_owned(self, change: str, old: Object | None, new: Object) -> None:
        """Have the Job of a pod looked at: at once, or (each look is at all of its pods) for many changes together."""
        for key in {*owner_keys("Job")(new), *(owner_keys("Job")(old) if old is not None else ())}:
            self.sizes[key] += {"ADDED": 1, "DELETED": -1}.get(change, 0)
            size = self.sizes[key]
            if size <= 0:
                del self.sizes[key]
            self.queue.add_after(key, 0.0 if size < MANY else min(size / 5000, LONGEST_BATCH_SECONDS))

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        if self.released and (change == "DELETED" or not is_tracked(new)):
            reference = controller_of(new)
            key = f"{new['metadata']['namespace']}/{reference['name']}" if reference else ""
            self.released.get(key, set()).discard(new["metadata"]["uid"])

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.get(key)
        if job is None:
            self.expectations.forget(key)
            self.released.pop(key, None)
            return None
        if is_finished(job) or not is_ours(job):
            return None
        satisfied = self.expectations.satisfied(key)
        pods = await claim(self.client, self.pods, job, JOBS, selector_of(job), finalizer=TRACKING)
        look = Look(self, key, job, View(job, pods, frozenset(self.released.get(key, ()))))
        begun = time.perf_counter()
        try:
            again = await look.work(satisfied)
        except Exception:
            metrics.sync(job, look.action, "error", time.perf_counter() - begun)
            raise
        metrics.sync(job, look.action, "success", time.perf_counter() - begun)
        return again if satisfied else BELIEVED_SECONDS


class Look:
    """One look at one Job."""

    def __init__(self, controller: JobController, key: str, job: Object, view: View) -> None:
        self.controller, self.key, self.job, self.view = controller, key, job, view
        self.now = time.time()
        self.deleting = "deletionTimestamp" in job["metadata"]
        self.action = "reconciling"
        self.may_finish = True
        self.active, self.ready, self.terminating = len(view.active), view.ready, view.terminating
        self.told: list[tuple[str, str, str]] = []

    async def work(self, satisfied: bool) -> float | None:
        """Do what is to be done; return when to look again."""
        before = dict(self.job.get("status") or {})
        if "startTime" not in before and not is_suspended(self.job):
            self.job = {**self.job, "status": {**before, "startTime": timestamp()}}
            self.view.job = self.job
        end, planned = self.view.end(), Plan()
        problem: ApiError | None = None
        suspension: list[Object] | None = None
        try:
            if end is not None:
                self.may_finish = (
                    satisfied  # else pods may be there that the informer has not seen: they go with the next look
                )
                await self._delete(self.view.active)
            elif satisfied and not self.deleting:
                planned = plan(self.view, self.now)
                await self._delete(planned.delete)
                await self._create(planned.create)
        except ApiError as error:  # what has ended is counted all the same
            problem, self.may_finish = error, False
        if end is None:
            end = self.view.completed(self.active)
            if end is None and satisfied and not self.deleting:
                suspension = self._suspension()
        await self._track(before, end, suspension)
        if problem is not None:
            raise problem
        return self._next(planned.wait) if end is None else None

    def _next(self, wait: float | None) -> float | None:
        left = seconds_left(self.job)
        looks = [wait, None if left is None else max(left, 0.05)]
        return min((look for look in looks if look is not None), default=None)

    # pods

    async def _delete(self, pods: list[Object]) -> None:
        if not pods:
            return
        self.action = "pods_deleted"
        self.active -= len(pods)
        self.ready -= sum(is_pod_ready(pod) for pod in pods)
        self.terminating += len(pods)
        await self.controller.pod_control.delete(self.key, self.job, pods)

    async def _create(self, new: list[New]) -> None:
        if not new:
            return
        self.action = "pods_created"
        pods = [job_pod(self.job, one) for one in new]
        await self.controller.pod_control.create(self.key, self.job, pods, self._made)

    def _made(self, count: int) -> None:
        """Count pods that were made before one of them is refused."""
        self.active += count
        metrics.PODS_TRACKED.add(count, event="add")
        metrics.PODS_CREATED.add(count, reason="new", status="succeeded")

    # status

    def _suspension(self) -> list[Object] | None:
        """Return the conditions of a Job that was suspended or resumed just now; a resumed one begins anew."""
        conditions = list((self.job.get("status") or {}).get("conditions") or ())
        before = condition_of(self.job, "Suspended")
        suspended = is_suspended(self.job)
        if (before or {"status": "False"})["status"] == str(suspended):
            return None
        reason, message = ("JobSuspended", "Job suspended") if suspended else ("JobResumed", "Job resumed")
        self.told.append(("Normal", "Suspended" if suspended else "Resumed", message))
        status = dict(self.job.get("status") or {})
        if not suspended:
            status["startTime"] = timestamp()
        elif self.controller.forgets_start:  # so that its template may be changed as one's that never began
            status.pop("startTime", None)
        self.job = {**self.job, "status": status}
        new = {"type": "Suspended", "status": str(suspended), "reason": reason, "message": message}
        return with_condition(conditions, {**new, "lastProbeTime": timestamp()}, timestamp())

    async def _track(self, before: Object, end: End | None, suspension: list[Object] | None) -> None:
        """Note what has ended, take its finalizers away, count it; and end the Job when nothing is left."""
        self.view.job = self.job
        found = tracked(self.view, end, deleting=self.deleting)
        status = self._with_counts(found.status)
        if suspension is not None:
            status["conditions"] = suspension
        if end is not None:
            status["conditions"] = announced(status.get("conditions") or [], end, timestamp())
        self.job = await self._write(before, status)
        for kind, reason, message in self.told:
            self.controller.events.record(self.job, kind, reason, message)
        await self._release(found.release)
        done = {pod["metadata"]["uid"] for pod in found.release}
        left = {pod["metadata"]["uid"] for pod in self.view.tracked} - done
        counted = settled(status, left, counts_succeeded=not is_indexed(self.job))
        if end is not None and found.all and self.may_finish and self._is_over(counted):
            counted = ended(counted, end, timestamp())
        self.job = await self._write(status, counted)
        if end is not None and is_finished(self.job):
            self._tell_end(end)

    def _with_counts(self, status: Object) -> Object:
        made = {**status, "ready": max(self.ready, 0), "terminating": self.terminating}
        write(made, "active", max(self.active, 0))
        return made

    def _is_over(self, status: Object) -> bool:
        """Whether nothing is left of a Job that ends: everything counted, no pod still going."""
        return not status["uncountedTerminatedPods"] and not self.terminating and self.active <= 0

    async def _write(self, before: Object, status: Object) -> Object:
        if status == before:
            return {**self.job, "status": status}
        return await self.controller.client.update(JOBS, {**self.job, "status": status}, subresource="status")

    async def _release(self, pods: list[Object]) -> None:
        if not pods:
            return
        known = self.controller.released.setdefault(self.key, set())
        known.update(pod["metadata"]["uid"] for pod in pods)
        results = await asyncio.gather(*(release(self.controller.client, pod) for pod in pods), return_exceptions=True)
        problems = [(pod, result) for pod, result in zip(pods, results, strict=True) if result is not None]
        for pod, _ in problems:
            known.discard(pod["metadata"]["uid"])
        if problems:
            raise problems[0][1]
        for pod in pods:
            metrics.pod_finished(self.job, pod, verdict_on(self.job, pod).action)

    def _tell_end(self, end: End) -> None:
        final = FINAL[end.type]
        if final == "Complete":
            completions = self.job["spec"].get("completions")
            if completions is not None and self.job["status"].get("succeeded", 0) > completions:
                message = "Too many succeeded pods running after completion count reached"
                self.controller.events.warning(self.job, "TooManySucceededPods", message)
            self.controller.events.normal(self.job, "Completed", "Job completed")
        else:
            self.controller.events.warning(self.job, end.reason, end.message)
        self.controller.released.pop(self.key, None)
        metrics.job_finished(self.job, final, end.reason)


def announced(conditions: list[Object], end: End, now: str) -> list[Object]:
    """Return conditions with the one that says how the Job will end."""
    if any(condition["type"] == end.type and condition["status"] == "True" for condition in conditions):
        return conditions
    return with_condition(conditions, condition(end.type, end, now), now)


def condition(type: str, end: End, now: str) -> Object:
    return {"type": type, "status": "True", "reason": end.reason, "message": end.message, "lastProbeTime": now}


def ended(status: Object, end: End, now: str) -> Object:
    """Return the status of a Job that has ended."""
    final = FINAL[end.type]
    made = {**status, "conditions": with_condition(status["conditions"], condition(final, end, now), now)}
    if final == "Complete":
        made["completionTime"] = now
    return made


def job_pod(job: Object, new: New) -> Object:
    """Return a pod of a Job, with its labels, its finalizer, and what says its index."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    end = "-" if new.index is None else f"-{new.index}-"
    base = name[: LONGEST_BASE - len(end)] + end
    pod = pod_of(job, JOBS, name_by_chance(base), base)
    metadata: dict[str, Any] = pod["metadata"]
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), TRACKING]
    labels = {f"{PREFIX}job-name": name, "job-name": name, f"{PREFIX}controller-uid": uid, "controller-uid": uid}
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if new.index is None:
        return pod
    metadata["labels"][INDEX] = str(new.index)
    told = {INDEX: str(new.index)}
    if new.failures is not None:
        told[FAILURES] = str(new.failures)
    if new.ignored:
        told[IGNORED] = str(new.ignored)
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **told}
    spec = {"hostname": f"{name}-{new.index}", **pod["spec"]}
    for section in ("initContainers", "containers"):
        if spec.get(section):
            spec[section] = [with_index(container) for container in spec[section]]
    return {**pod, "spec": spec}


def with_index(container: Object) -> Object:
    """Return a container that knows its index, unless its template says otherwise."""
    variables = container.get("env") or ()
    if any(variable["name"] == INDEX_VARIABLE for variable in variables):
        return container
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*variables, {"name": INDEX_VARIABLE, "valueFrom": source}]}
