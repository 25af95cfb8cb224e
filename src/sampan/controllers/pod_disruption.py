"""A pod that is ended from outside, and what its status says then: the condition ``DisruptionTarget``, the phase.

Source: KEP-3329.
"""

from __future__ import annotations

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import PODS
from sampan.controllers.ownership import with_condition
from sampan.schema.objects import Object


def disrupted(status: Object, reason: str, message: str, now: str) -> Object:
    """Return the status with the condition that says who ends the pod."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {**status, "conditions": with_condition(list(status.get("conditions") or ()), condition, now)}


def failed(status: Object) -> Object:
    """Return the status of a pod that will not end by itself."""
    return {**status, "phase": "Failed"}


async def end(client: Client, pod: Object, status: Object | None, grace_period_seconds: int | None = None) -> None:
    """Write the status that says why, if there is one, and delete the pod; one that has gone already is left in peace.

    Raises ``ApiError``: a conflict where the pod has changed, or whatever else the API refuses.
    """
    metadata = pod["metadata"]
    try:
        if status is not None:
            await client.update(PODS, {**pod, "status": status}, subresource="status")
        await client.delete(
            PODS,
            metadata["name"],
            metadata["namespace"],
            grace_period_seconds=grace_period_seconds,
            uid=metadata["uid"],
        )
    except ApiError as error:
        if not error.is_not_found:
            raise
