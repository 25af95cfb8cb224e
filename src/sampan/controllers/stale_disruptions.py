"""A pod that was to be ended from outside and goes on all the same: its condition ``DisruptionTarget`` is taken back.

Who wrote it may have died before the deletion. What a node says of its own pods stays: it may take its time. Source:
KEP-3329, kubernetes pkg/controller/disruption.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.events import timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import PODS
from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object

STALE_SECONDS = 120.0
BY_NODE = "TerminationByKubelet"
TYPE = "DisruptionTarget"


def seconds_until_stale(pod: Object) -> float | None:
    """Return how long the word of a pod's end still counts, at most 0 where it does not any more; None: there is none that
    ages."""
    status = pod.get("status", {})
    found = condition_of(pod, TYPE)
    if found is None or found["status"] != "True" or found.get("reason") == BY_NODE:
        return None
    if "deletionTimestamp" in pod["metadata"] or status.get("phase") in ("Succeeded", "Failed"):
        return None
    since = found.get("lastTransitionTime")
    return STALE_SECONDS - seconds_since(since) if since else 0.0


class StaleDisruptions(Controller):
    name = "disruption-controller"

    def __init__(self, client: Client, pods: Informer) -> None:
        super().__init__(client)
        self.pods = pods
        self.watch(pods, targets)

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        left = seconds_until_stale(pod) if pod is not None else None
        if pod is None or left is None or left > 0:
            return left
        conditions = list(pod["status"]["conditions"])
        status = {
            **pod["status"],
            "conditions": with_condition(conditions, {"type": TYPE, "status": "False"}, timestamp()),
        }
        await self.client.update(PODS, {**pod, "status": status}, subresource="status")
        return None


def targets(pod: Object) -> Iterable[str]:
    return [key_of(pod)] if condition_of(pod, TYPE) is not None else []
