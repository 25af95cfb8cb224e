"""What a pod's status says when it is ended from outside: the condition ``DisruptionTarget``, the phase. Source: KEP-3329."""

from __future__ import annotations

from sampan.controllers.ownership import with_condition
from sampan.schema.objects import Object


def disrupted(status: Object, reason: str, message: str, now: str) -> Object:
    """Return the status with the condition that says who ends the pod."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {**status, "conditions": with_condition(list(status.get("conditions") or ()), condition, now)}


def failed(status: Object) -> Object:
    """Return the status of a pod that will not end by itself."""
    return {**status, "phase": "Failed"}
