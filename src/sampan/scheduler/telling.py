"""What people are told of a pod: its condition ``PodScheduled`` and events ``Scheduled`` and ``FailedScheduling``."""

from __future__ import annotations

from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.protocol import Client
from sampan.client.resources import PODS
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

UNSCHEDULABLE, SCHEDULER_ERROR = "Unschedulable", "SchedulerError"


class Teller:
    def __init__(self, client: Client, events: EventRecorder) -> None:
        self.client, self.events = client, events

    def scheduled(self, pod: PodInfo, node: str) -> None:
        message = f"Successfully assigned {pod.key} to {node}"
        self.events.normal(pod.object, "Scheduled", message)

    async def refused(self, pod: PodInfo, reason: str, message: str, nominated_node: str | None = None) -> None:
        """Say why a pod has no node, once as long as the reasons stay the same; ``nominated_node``: where room is made."""
        changes: Object = {}
        if not is_told(pod.object, message):
            self.events.warning(pod.object, "FailedScheduling", message)
            changes["conditions"] = [condition(pod.object, reason, message)]
        if nominated_node is not None and nominated_node != pod.nominated:
            changes["nominatedNodeName"] = nominated_node or None
        if not changes:
            return
        patch: Any = {"metadata": {"uid": pod.uid}, "status": changes}
        try:
            # strategic: others' conditions are merged, not replaced by our copy of them
            await self.client.patch(PODS, pod.name, patch, pod.namespace, type="strategic", subresource="status")
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise


def is_told(pod: Object, message: str) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "PodScheduled" and one.get("message") == message for one in conditions)


def condition(pod: Object, reason: str, message: str) -> Object:
    told: Object = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(),
    }
    if pod["metadata"].get("generation"):
        told["observedGeneration"] = pod["metadata"]["generation"]
    return told
