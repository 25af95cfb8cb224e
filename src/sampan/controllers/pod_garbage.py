"""Pods that nobody will ever end: of nodes that are gone or out of service, without a node though deleted, and finished ones
past a number. Source: pkg/controller/podgc, KEP-2268 (out of service), KEP-3329 (DisruptionTarget).

A key is a node's name, or ``FINISHED`` for what is no node's. A node that is missing has one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import NODES
from sampan.controllers.node_conditions import BY_NODE, is_ready, node_of
from sampan.controllers.pod_disruption import disrupted, end, failed
from sampan.schema.objects import Object

QUARANTINE_SECONDS = 40.0
"""How long pods of a node that is not there are left alone: it may be about to register."""
TERMINATED_THRESHOLD = 12500
"""How many finished pods are kept (terminated-pod-gc-threshold)."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FINISHED = "\0finished"
OVER = ("Succeeded", "Failed")


def over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in OVER


def surplus(pods: Iterable[Object], threshold: int) -> list[Object]:
    """Return the finished pods past a number: evicted ones first, then the oldest."""
    finished = [pod for pod in pods if over(pod) and "deletionTimestamp" not in pod["metadata"]]
    too_many = len(finished) - threshold
    if threshold <= 0 or too_many <= 0:
        return []

    def order(pod: Object) -> tuple[bool, str, str]:
        evicted = (pod.get("status") or {}).get("reason") == "Evicted"
        return not evicted, pod["metadata"].get("creationTimestamp", ""), key_of(pod)

    return sorted(finished, key=order)[:too_many]


def is_out_of_service(node: Object) -> bool:
    """Whether somebody said that a node that is not ready will not come back as it was."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return not is_ready(node) and any(taint["key"] == OUT_OF_SERVICE for taint in taints)


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector"

    def __init__(self, client: Client, pods: Informer, nodes: Informer) -> None:
        super().__init__(client)
        self.pods, self.nodes = pods, nodes
        self.missing: dict[str, float] = {}
        self._finished: set[str] = set()
        pods.add_index(BY_NODE, node_of)
        pods.add_handler(self._count)
        self.watch(nodes)
        self.watch(pods, self._keys)

    def _count(self, change: str, old: Object | None, new: Object) -> None:
        if change != "DELETED" and over(new):
            self._finished.add(key_of(new))
        else:
            self._finished.discard(key_of(new))

    def _keys(self, pod: Object) -> list[str]:
        """Return what is to be looked at after a change of a pod: nothing, as a rule."""
        keys = []
        if len(self._finished) > TERMINATED_THRESHOLD or ("deletionTimestamp" in pod["metadata"] and not node_of(pod)):
            keys.append(FINISHED)
        for name in node_of(pod):
            node = self.nodes.get(name)
            if node is None or (is_out_of_service(node) and "deletionTimestamp" in pod["metadata"]):
                keys.append(name)
        return keys

    async def reconcile(self, key: str) -> float | None:
        if key == FINISHED:
            await self._collect_finished()
            return None
        node = self.nodes.get(key)
        if node is None:
            return await self._collect_orphans(key)
        self.missing.pop(key, None)
        if is_out_of_service(node):
            for pod in self.pods.by_index(BY_NODE, key):
                if "deletionTimestamp" in pod["metadata"]:
                    await self._end(pod, "")
        return None

    async def _collect_finished(self) -> None:
        for pod in surplus(self.pods, TERMINATED_THRESHOLD):
            await self._end(pod, "")
        for pod in list(self.pods):
            if "deletionTimestamp" in pod["metadata"] and not node_of(pod):
                await self._end(pod, "")

    async def _collect_orphans(self, name: str) -> float | None:
        """Delete the pods of a node that has not existed for a while; return when to look again."""
        pods = self.pods.by_index(BY_NODE, name)
        if not pods:
            self.missing.pop(name, None)
            return None
        now = asyncio.get_running_loop().time()
        left = self.missing.setdefault(name, now) + QUARANTINE_SECONDS - now
        if left > 0:
            return left
        try:
            await self.client.get(NODES, name)  # the informer may be behind
            return QUARANTINE_SECONDS
        except ApiError as error:
            if not error.is_not_found:
                raise
        for pod in pods:
            await self._end(pod, "PodGC: node no longer exists")
        return None

    async def _end(self, pod: Object, message: str) -> None:
        """Delete a pod at once; it says first what became of it, and is Failed if it had no other end."""
        status: Object | None = None
        if not over(pod):
            status = failed(pod.get("status") or {})
            if message:
                status = disrupted(status, "DeletionByPodGC", message, timestamp())
        await end(self.client, pod, status, grace_period_seconds=0)
