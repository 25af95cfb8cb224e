"""What a Deployment tells of its rollout: the condition ``Progressing``, and when it would be too late. Pure.

Source: the conditions of apps/v1 Deployment as the Deployment controller of Kubernetes sets them. A condition is written anew
when its status or its reason changes; that of progress with each progress, since the deadline runs from its last update.
"""

from __future__ import annotations

from sampan.controllers import deployment_plan as plan
from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object

NO_DEADLINE = 2**31 - 1
AVAILABLE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def deadline_of(deployment: Object) -> int | None:
    """Return the seconds that a rollout may take without progress; None: as long as it likes."""
    seconds = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    return None if seconds == NO_DEADLINE else seconds


def created(replica_set: Object) -> Object:
    name = replica_set["metadata"]["name"]
    return _condition("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')


def not_created(message: str) -> Object:
    return _condition("False", "ReplicaSetCreateError", message)


def with_progress(
    deployment: Object, new: Object | None, status: Object, now: str, told: Object | None = None
) -> list[Object]:
    """Return the conditions of a new status with that of progress among them. ``told``: what has just been done for the
    rollout (``created``, ``not_created``)."""
    conditions: list[Object] = status["conditions"]
    if deadline_of(deployment) is None:
        return [one for one in conditions if one["type"] != "Progressing"]
    found = _progress(deployment, new, status, told)
    if found is None:
        return conditions
    stamped = {"type": "Progressing", "lastUpdateTime": now, **found}
    if found["reason"] == "ReplicaSetUpdated":
        return with_condition(conditions, stamped, now)
    return plan.set_condition(conditions, stamped, now)


def _progress(deployment: Object, new: Object | None, status: Object, told: Object | None) -> Object | None:
    before = condition_of(deployment, "Progressing")
    reason = before["reason"] if before is not None else ""
    if deployment["spec"].get("paused"):
        return None if reason == TIMED_OUT else _condition("Unknown", PAUSED, "Deployment is paused")
    if told is not None:
        return told
    whose = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if before is None and new is not None:
        return _condition("True", "FoundNewReplicaSet", f'Found new replica set "{new["metadata"]["name"]}"')
    if reason == AVAILABLE and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return None  # it has been rolled out; a pod that fails later is no failed rollout
    if plan.is_complete(deployment, status):
        return _condition("True", AVAILABLE, f"{whose} has successfully progressed.")
    if reason == PAUSED:
        return _condition("Unknown", "DeploymentResumed", "Deployment is resumed")
    if plan.made_progress(deployment.get("status", {}), status):
        return _condition("True", "ReplicaSetUpdated", f"{whose} is progressing.")
    deadline = deadline_of(deployment)
    if before is None or deadline is None or reason in (AVAILABLE, TIMED_OUT):
        return None
    if seconds_since(before["lastUpdateTime"]) > deadline:
        return _condition("False", TIMED_OUT, f"{whose} has timed out progressing.")
    return None


def seconds_left(deployment: Object, status: Object) -> float | None:
    """Return when the deadline would be over, and a second; None: there is none to look at."""
    deadline = deadline_of(deployment)
    if deadline is None or plan.is_complete(deployment, status) or deployment["spec"].get("paused"):
        return None
    condition = next((one for one in status["conditions"] if one["type"] == "Progressing"), None)
    if condition is None or condition["status"] == "False" or condition["reason"] == AVAILABLE:
        return None
    return float(max(deadline - seconds_since(condition["lastUpdateTime"]) + 1, 1))


def _condition(status: str, reason: str, message: str) -> Object:
    return {"status": status, "reason": reason, "message": message}
