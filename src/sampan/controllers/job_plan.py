"""Which pods a Job makes and deletes next, and what its status says of those that ended. Pure.

Source: kubernetes pkg/controller/job (manageJob, trackJobStatusAndRemoveFinalizers).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sampan.controllers.job_indexes import IGNORED, annotation, failures_of, index_of, intervals, pending
from sampan.controllers.job_policies import verdict_on
from sampan.controllers.job_view import (
    MET,
    End,
    View,
    backoff_left,
    backoff_of_index,
    has_failed,
    is_indexed,
    is_suspended,
    phase,
    waits_for_phase,
)
from sampan.controllers.pod_ranking import ranked
from sampan.schema.objects import Object

AT_A_TIME = 500
"""Pods made or deleted, and ends noted, in one go."""


@dataclass(frozen=True, slots=True)
class New:
    """A pod to make: its index, and how often that has failed, counted and ignored."""

    index: int | None = None
    failures: int | None = None
    ignored: int = 0


@dataclass
class Plan:
    create: list[New] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    wait: float | None = None
    """When to look again, for a pod that may not be made yet."""


def plan(view: View, now: float) -> Plan:
    """Return what brings a Job that goes on to the pods it should have: either pods to delete or pods to make."""
    job, spec = view.job, view.job["spec"]
    if is_suspended(job):
        return Plan(delete=view.active[:AT_A_TIME])
    active, parallelism = len(view.active), spec.get("parallelism", 1)
    if view.completions is None:
        wanted = active if view.succeeded else parallelism
    else:
        wanted = max(min(view.completions - view.succeeded, parallelism), 0)
    superfluous = removable(view, max(active - wanted, 0))
    if superfluous:
        return Plan(delete=superfluous[:AT_A_TIME])
    missing = wanted - active - (view.terminating if waits_for_phase(job) else 0)
    if missing <= 0:
        return Plan()
    if view.failed_indexes is None:
        wait = backoff_left(job, view.pods, now)
        if wait > 0:
            return Plan(wait=wait)
    missing = min(missing, AT_A_TIME)
    if not is_indexed(job):
        return Plan(create=[New()] * missing)
    return of_indexes(view, missing, now)


def of_indexes(view: View, missing: int, now: float) -> Plan:
    taken = view.indexes | (view.failed_indexes or set())
    holders = view.active
    if waits_for_phase(view.job):
        holders = [pod for pod in view.pods if phase(pod) not in ("Succeeded", "Failed")]
    taken |= {index for pod in holders if (index := index_of(pod)) is not None}
    if view.failed_indexes is None:
        return Plan(create=[New(index) for index in pending(view.completions or 0, taken, missing)])
    made = Plan()
    waits: list[float] = []
    for index in pending(view.completions or 0, taken, view.completions or 0):
        before = view.kept.get(index)
        wait = 0.0 if before is None else backoff_of_index(before, now)
        if wait > 0:
            waits.append(wait)
        elif len(made.create) < missing:
            made.create.append(successor(view.job, index, before))
    made.wait = min(waits, default=None)
    return made


def successor(job: Object, index: int, before: Object | None) -> New:
    """Return the pod that follows a failed one of an index."""
    if before is None:
        return New(index, 0)
    counts = verdict_on(job, before).counts
    ignored = annotation(before, IGNORED) or 0
    return New(index, failures_of(before) + counts, ignored + (not counts))


def removable(view: View, at_least: int) -> list[Object]:
    """Return active pods to delete: those of indexes that the Job has not, or has twice, then as many as there are too
    many, in the order in which ReplicaSets delete."""
    in_order = ranked(view.active)
    if not is_indexed(view.job):
        return in_order[:at_least]
    found, rest, seen = [], [], set()
    for pod in reversed(in_order):  # of several with one index the best one stays
        index = index_of(pod)
        if not view.has_index(pod) or index in seen:
            found.append(pod)
        else:
            seen.add(index)
            rest.append(pod)
    if len(found) < at_least:
        found += rest[::-1][: at_least - len(found)]
    return found


class Tracked(NamedTuple):
    """``status`` notes the ends of pods; then their finalizers (``release``) may go. ``all``: whether none is left over."""

    status: Object
    release: list[Object]
    all: bool


def tracked(view: View, end: End | None, *, deleting: bool) -> Tracked:
    """Return the status with the ends of pods that are not counted yet."""
    job = view.job
    status = dict(job.get("status") or {})
    with_finalizer = {pod["metadata"]["uid"] for pod in view.tracked}
    noted = {name: noted_of(status, name) for name in ("succeeded", "failed")}
    settle(status, noted, with_finalizer, counts_succeeded=not is_indexed(job))
    release: list[Object] = []
    new_indexes = set()
    complete = True
    pods = sorted(view.tracked, key=lambda pod: index_of(pod) or 0) if is_indexed(job) else view.tracked
    for pod in pods:
        failed, uid, index = has_failed(job, pod), pod["metadata"]["uid"], index_of(pod)
        if not may_release(view, pod, failed, end, deleting=deleting):
            continue
        release.append(pod)
        if phase(pod) == "Succeeded" and uid not in view.noted_failed:
            if is_indexed(job):
                if view.has_index(pod) and index is not None and index not in view.before:
                    new_indexes.add(index)
            elif uid not in view.noted_succeeded:
                noted["succeeded"].append(uid)
        elif (failed or (end is not None and end.type != MET)) and uid not in view.noted_failed and view.has_index(pod):
            counts = not failed or verdict_on(job, pod).counts
            noted["failed"] += [uid] if counts else []
        if len(new_indexes) + len(noted["succeeded"]) + len(noted["failed"]) >= AT_A_TIME:
            complete = False
            break
    status["uncountedTerminatedPods"] = {name: uids for name, uids in noted.items() if uids}
    if is_indexed(job):
        indexes = view.before | new_indexes
        write(status, "succeeded", len(indexes))
        write(status, "completedIndexes", intervals(indexes))
        if view.failed_indexes is not None:
            status["failedIndexes"] = intervals(view.failed_indexes)
    return Tracked(status, release, complete)


def noted_of(status: Object, name: str) -> list[str]:
    return list((status.get("uncountedTerminatedPods") or {}).get(name) or ())


def settle(status: Object, noted: dict[str, list[str]], with_finalizer: set[str], *, counts_succeeded: bool) -> None:
    """Count what was noted of pods whose finalizer is gone: nothing can be noted of them again. In place."""
    for name, uids in noted.items():
        gone = [uid for uid in uids if uid not in with_finalizer]
        if gone and (name == "failed" or counts_succeeded):
            status[name] = status.get(name, 0) + len(gone)
        noted[name] = [uid for uid in uids if uid in with_finalizer]


def settled(status: Object, with_finalizer: set[str], *, counts_succeeded: bool) -> Object:
    """Return the status once finalizers are gone: ``with_finalizer`` are those that still have theirs."""
    made = dict(status)
    noted = {name: noted_of(status, name) for name in ("succeeded", "failed")}
    settle(made, noted, with_finalizer, counts_succeeded=counts_succeeded)
    made["uncountedTerminatedPods"] = {name: uids for name, uids in noted.items() if uids}
    return made


def may_release(view: View, pod: Object, failed: bool, end: End | None, *, deleting: bool) -> bool:
    """Whether a pod is not needed any more once its end is noted."""
    if deleting or end is not None or phase(pod) == "Succeeded":
        return True
    if not failed:
        return False
    index = index_of(pod)
    kept = view.kept.get(index) if index is not None else None
    return kept is None or kept["metadata"]["uid"] != pod["metadata"]["uid"]


def write(status: Object, name: str, value: object) -> None:
    """Set a field that is left out where it is empty."""
    if value:
        status[name] = value
    else:
        status.pop(name, None)
