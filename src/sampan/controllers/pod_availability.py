"""Whether a workload's pod counts as available: ready, not about to go, and so for ``minReadySeconds``.

Shared by what makes pods (ReplicaSet, StatefulSet, DaemonSet). Source: the Pod's Ready condition, apps/v1 minReadySeconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.controllers.ownership import condition_of
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object


def ends(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def finished(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def seconds_until_available(pod: Object, min_ready_seconds: int) -> float:
    """Return how long a ready pod must stay so until it counts; not positive when it does."""
    since = (condition_of(pod, "Ready") or {}).get("lastTransitionTime")
    return min_ready_seconds - seconds_since(since) if since else float(min_ready_seconds)


def ready_long_enough(workload: Object, pod: Object) -> bool:
    """Whether a pod that is ready has been so for the workload's ``minReadySeconds``."""
    seconds = workload["spec"].get("minReadySeconds", 0)
    return not seconds or seconds_until_available(pod, seconds) <= 0


def soonest_available(workload: Object, ready: Iterable[Object]) -> float | None:
    """Return in how many seconds the next of the ready pods will count; None where none is waited for."""
    seconds = workload["spec"].get("minReadySeconds", 0)
    if not seconds:
        return None
    waits = (seconds_until_available(pod, seconds) for pod in ready)
    return min((wait for wait in waits if wait > 0), default=None)
