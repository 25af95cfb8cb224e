"""What the status of a Job may be and become. Source: pkg/apis/batch/validation, pkg/registry/batch/job.

Others than the Job controller may run Jobs (``managedBy``, KEP-4368), so since 1.32 a status may not lie to who waits for it.
A rule is looked at only where a field of it changes: what was wrong before may stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import non_negative
from sampan.api.resources.job_validation import count_indexes
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import duplicate, invalid, required
from sampan.schema.objects import Object

NUMBERS = ("active", "succeeded", "failed", "ready", "terminating")
COMPLETE, FAILED, TARGET, MET = "Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"
DISJOINT = ((COMPLETE, FAILED), (COMPLETE, TARGET))
NEEDS = ((FAILED, TARGET), (COMPLETE, MET))
"""A condition that ends a Job, and the one that announces it."""


def validate_job_status(new: Object, old: Object | None, *, strict: bool = True) -> Iterator[Cause]:
    """Yield why a status is refused. ``strict``: transitions are judged too (1.32)."""
    status, before = mapping(new, "status"), mapping(old, "status")
    for key in NUMBERS:
        yield from non_negative(f"status.{key}", status.get(key))
    seen: set[str] = set()
    for key in ("succeeded", "failed"):
        yield from uncounted(items(status, "uncountedTerminatedPods", key), key, seen)
    if strict:
        yield from conditions(status, before)
        yield from times(status, before, suspended=bool(mapping(new, "spec").get("suspend")))
        yield from ended(status, before)
        yield from indexes(mapping(new, "spec"), status, before)
        yield from counters(mapping(new, "spec"), status, before)


def uncounted(listed: Sequence[str], key: str, seen: set[str]) -> Iterator[Cause]:
    for index, uid in enumerate(listed):
        path = f"status.uncountedTerminatedPods.{key}[{index}]"
        if not uid:
            yield invalid(path, uid, "must not be empty")
        elif uid in seen:
            yield duplicate(path, uid)
        seen.add(uid)


def true_conditions(status: Object) -> set[Any]:
    return {c.get("type") for c in items(status, "conditions") if c.get("status") == "True"}


def wrong_conditions(why: str) -> Cause:
    return Cause("status.conditions", "FieldValueInvalid", f"Invalid value: {why}")


def conditions(status: Object, before: Object) -> Iterator[Cause]:
    now, was = true_conditions(status), true_conditions(before)
    changed = now ^ was
    for one, other in DISJOINT:
        if {one, other} <= now and changed & {one, other}:
            # Kubernetes writes the second "true" small
            yield wrong_conditions(f"cannot set {one}=True and {other}=true conditions")
    for one, other in NEEDS:
        if one in now and other not in now and changed & {one, other}:
            yield wrong_conditions(f"cannot set {one}=True condition without the {other}=true condition")
    for other in (FAILED, TARGET):
        if {MET, other} <= now:
            yield wrong_conditions(f"cannot set {MET}=True and {other}=true conditions")
    for one in (FAILED, COMPLETE, TARGET):
        if one in was - now:
            yield wrong_conditions(f"cannot disable the terminal {one}=True condition")
    if MET in was - now:
        yield wrong_conditions(f"cannot disable the {MET}=True condition")
    if COMPLETE in was and MET in now - was:
        yield wrong_conditions(f"cannot set {MET}=True for Job already has {COMPLETE}=true conditions")


def times(status: Object, before: Object, *, suspended: bool) -> Iterator[Cause]:
    start, end = status.get("startTime"), status.get("completionTime")
    old_start, old_end = before.get("startTime"), before.get("completionTime")
    complete = COMPLETE in true_conditions(status)
    if complete != (COMPLETE in true_conditions(before)) or end != old_end:
        if end is not None and not complete:
            why = "cannot set completionTime when there is no Complete=True condition"
            yield invalid("status.completionTime", end, why)
        elif end is None and complete:
            yield required("status.completionTime", "completionTime is required for Complete jobs")
    if start is not None and end is not None and (start, end) != (old_start, old_end) and end < start:
        yield invalid("status.completionTime", end, "completionTime cannot be set before startTime")
    if end is not None and old_end is not None and end != old_end:
        yield invalid("status.completionTime", end, "completionTime cannot be mutated")
    resumed = "Suspended" in true_conditions(before) - true_conditions(status)
    if old_start is not None and start != old_start and not suspended and not resumed:
        yield required("status.startTime", "startTime cannot be removed for unsuspended job")


def ended(status: Object, before: Object) -> Iterator[Cause]:
    """A Job that has ended has no pods left that count."""
    finished = bool(true_conditions(status) & {COMPLETE, FAILED})
    turned = finished != bool(true_conditions(before) & {COMPLETE, FAILED})
    active, ready, pods = status.get("active") or 0, status.get("ready"), mapping(status, "uncountedTerminatedPods")
    other_active = active != (before.get("active") or 0)
    if finished and (turned or other_active) and active > 0:
        yield invalid("status.active", active, "active>0 is invalid for finished job")
    if finished and (turned or status.get("startTime") != before.get("startTime")) and not status.get("startTime"):
        yield required("status.startTime", "startTime is required for finished job")
    if finished and any(pods.values()) and (turned or pods != mapping(before, "uncountedTerminatedPods")):
        why = "uncountedTerminatedPods needs to be empty for finished job"
        yield invalid("status.uncountedTerminatedPods", pods, why)
    if ready is not None and ready > active and (other_active or ready != before.get("ready")):
        yield invalid("status.ready", ready, "cannot set more ready pods than active")


def indexes(spec: Object, status: Object, before: Object) -> Iterator[Cause]:
    total, done, lost = spec.get("completions"), status.get("completedIndexes") or "", status.get("failedIndexes")
    done_path, lost_path, limit = "status.completedIndexes", "status.failedIndexes", spec.get("backoffLimitPerIndex")
    other_done, other_lost = done != (before.get("completedIndexes") or ""), lost != before.get("failedIndexes")
    if other_done:
        wrong = count_indexes(done, total)[0] if total is not None else ""
        if wrong:
            yield invalid(done_path, done, f"error parsing completedIndexes: {wrong}")
        if done and spec.get("completionMode") != "Indexed":
            why = "cannot set non-empty completedIndexes when non-indexed completion mode"
            yield invalid(done_path, done, why)
    if other_lost and lost is not None:
        wrong = count_indexes(lost, total)[0] if total is not None and limit is not None else ""
        if wrong:
            yield invalid(lost_path, lost, f"error parsing failedIndexes: {wrong}")
        if limit is None:
            yield invalid(lost_path, lost, "cannot set non-null failedIndexes when backoffLimitPerIndex is null")
    if (other_done or other_lost) and total is not None and lost is not None:
        yield from overlapping(lost_path, done, lost, total)


def overlapping(path: str, done: str, lost: str, total: int) -> Iterator[Cause]:
    if count_indexes(done, total)[0] or count_indexes(lost, total)[0]:
        return
    for low, high in spans(done):
        for first, last in spans(lost):
            if low <= last and first <= high:
                yield invalid(path, lost, f"failedIndexes and completedIndexes overlap at index: {max(low, first)}")
                return


def spans(text: str) -> list[tuple[int, int]]:
    ends = [piece.split("-") for piece in text.split(",") if piece]
    return [(int(pair[0]), int(pair[-1])) for pair in ends]


def counters(spec: Object, status: Object, before: Object) -> Iterator[Cause]:
    """What has happened stays so; only an Indexed Job can be made smaller."""
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for key in ("failed", "succeeded"):
        count = status.get(key) or 0
        if count < (before.get(key) or 0) and not (key == "succeeded" and elastic):
            yield invalid(f"status.{key}", count, f"cannot decrease the {key} counter")
