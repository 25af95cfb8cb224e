"""Pods whose devices are tainted ``NoExecute`` are ended, at once or when what their claims tolerate is over.

A claim's allocation says which devices a pod has and what is tolerated of them; taints are those that drivers publish in
their ResourceSlices (DeviceTaintRules are not looked at). Keys are pods.
Source: KEP-5055; kubernetes pkg/controller/devicetainteviction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.controllers.pod_disruption import disrupted, end
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object
from sampan.schema.pod_references import resource_claim_names
from sampan.schema.tolerations import tolerates

BY_POOL = "device-pool"
MESSAGE = "Device Taint manager: deleting due to NoExecute taint"


def results_of(claim: Object) -> list[Object]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return (allocation.get("devices") or {}).get("results") or []


def pools_of(claim: Object) -> list[str]:
    """Index function: the pools that a claim has devices of."""
    return [f"{one['driver']}/{one['pool']}" for one in results_of(claim)]


def pool_of(resource_slice: Object) -> list[str]:
    spec = resource_slice["spec"]
    return [f"{spec['driver']}/{spec['pool']['name']}"]


def users_of(claim: Object) -> list[str]:
    """Return the keys of the pods that use a claim."""
    users = (claim.get("status") or {}).get("reservedFor") or ()
    return [f"{claim['metadata']['namespace']}/{one['name']}" for one in users if one.get("resource") == "pods"]


def since(taint: Object, resource_slice: Object) -> float:
    given = parse_time(taint.get("timeAdded") or resource_slice["metadata"].get("creationTimestamp") or "")
    return given.timestamp() if given else 0.0


def ends_at(taint: Object, added: float, tolerations: list[Object]) -> float | None:
    """Return when a taint ends who has the device, None for never; one that is not tolerated does as soon as it is there."""
    bearing = [one for one in tolerations if tolerates(one, taint)]
    if not bearing:
        return added
    limits = [one["tolerationSeconds"] for one in bearing if one.get("tolerationSeconds") is not None]
    return added + max(min(limits), 0) if limits else None


class DeviceTaintEviction(Controller):
    name = "device-taint-eviction-controller"

    def __init__(
        self,
        client: Client,
        pods: Informer,
        claims: Informer,
        slices: Informer,
        events: EventRecorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client)
        self.pods, self.claims, self.slices, self.events, self.clock = pods, claims, slices, events, clock
        claims.add_index(BY_POOL, pools_of)
        slices.add_index(BY_POOL, pool_of)
        self.watch(claims, users_of)
        self.watch(slices, self._users_of_pool)

    def _users_of_pool(self, resource_slice: Object) -> list[str]:
        found = (self.claims.by_index(BY_POOL, pool) for pool in pool_of(resource_slice))
        return [key for claims in found for claim in claims for key in users_of(claim)]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or "deletionTimestamp" in pod["metadata"] or not pod["spec"].get("nodeName"):
            return None
        moments = list(self._moments(pod))
        if not moments:
            return None
        left = min(moments) - self.clock()
        if left > 0:
            return left
        await self._evict(pod)
        return None

    def _moments(self, pod: Object) -> Iterator[float]:
        """Yield when each taint of the pod's devices ends it."""
        metadata = pod["metadata"]
        for _, name, _ in resource_claim_names(pod):
            claim = self.claims.get(f"{metadata['namespace']}/{name}") if name else None
            users = ((claim or {}).get("status") or {}).get("reservedFor") or ()
            if claim is None or not any(one.get("uid") == metadata["uid"] for one in users):
                continue
            for result in results_of(claim):
                for taint, added in self._taints(result):
                    moment = ends_at(taint, added, result.get("tolerations") or [])
                    if moment is not None:
                        yield moment

    def _taints(self, result: Object) -> Iterator[tuple[Object, float]]:
        """Yield what ends who has a device, and since when; of a pool the newest generation counts."""
        there = list(self.slices.by_index(BY_POOL, f"{result['driver']}/{result['pool']}"))
        newest = max((one["spec"]["pool"].get("generation", 0) for one in there), default=0)
        for one in there:
            if one["spec"]["pool"].get("generation", 0) != newest:
                continue
            for device in one["spec"].get("devices") or ():
                if device["name"] == result["device"]:
                    for taint in device.get("taints") or ():
                        if taint["effect"] == "NoExecute":
                            yield taint, since(taint, one)

    async def _evict(self, pod: Object) -> None:
        self.events.normal(pod, "DeviceTaintManagerEviction", "Marking for deletion")
        told = disrupted(pod.get("status") or {}, "DeletionByDeviceTaintManager", MESSAGE, timestamp())
        await end(self.client, pod, told)
