"""Nodes that fall silent: Ready becomes Unknown, taints follow, and pods on a lost node are deleted in time.

A node is heard by its Lease (``kube-node-lease``) and its status. Silence is timed by one wake-up per node, not by
polling. How many nodes may be emptied at a time is ``node_zones.py``'s. Source: KEP-589 (Lease heartbeats), the taints
``node.kubernetes.io/not-ready`` and ``unreachable``, their 300 s tolerations, KEP-3329 (DisruptionTarget).
"""

from __future__ import annotations

import asyncio

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import NODES, PODS
from sampan.controllers.node_conditions import (
    BY_NODE,
    has_no_execute,
    is_being_evicted,
    is_ready,
    node_of,
    silenced,
    toleration_left,
    wanted_taints,
)
from sampan.controllers.node_zones import Pace, Zones, zone_of
from sampan.controllers.ownership import condition_of, is_pod_ready, with_condition
from sampan.controllers.pod_disruption import disrupted, end
from sampan.schema.objects import Object

GRACE_SECONDS = 50.0
"""How long a node may be silent (node-monitor-grace-period)."""
STARTUP_SECONDS = 60.0
"""How long a new one may take for its first word (node-startup-grace-period)."""


class NodeLifecycleController(Controller):
    name = "node-controller"

    def __init__(
        self, client: Client, nodes: Informer, leases: Informer, pods: Informer, events: EventRecorder
    ) -> None:
        super().__init__(client)
        self.nodes, self.leases, self.pods, self.events = nodes, leases, pods, events
        self.heard: dict[str, float] = {}
        self.zones = Zones()
        self.pace = Pace()
        self._registered: set[str] = set()
        """The nodes that were told of, by their uids."""
        self._bearing: dict[str, dict[str, float]] = {}
        """Since when pods bear taints, by node and uid."""
        pods.add_index(BY_NODE, node_of)
        leases.add_handler(self._on_lease)
        nodes.add_handler(self._on_node)
        self.watch(nodes)
        self.watch(pods, self._node_that_evicts)

    def _on_lease(self, change: str, old: Object | None, new: Object) -> None:
        if change != "DELETED" and new["metadata"].get("namespace") == "kube-node-lease":
            name = new["metadata"]["name"]
            self.heard[name] = asyncio.get_running_loop().time()
            node = self.nodes.get(name)
            if node is not None and (condition_of(node, "Ready") or {}).get("status") == "Unknown":
                self.queue.add(name)

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        name = new["metadata"]["name"]
        if change == "DELETED":
            self._registered.discard(new["metadata"]["uid"])
            self._tell(new, "RemovingNode", f"Removing Node {name} from Controller")
        if self.zones.forget(name) if change == "DELETED" else self.zones.observe(new):
            for node in self.nodes:
                if not is_ready(node):
                    self.queue.add(node["metadata"]["name"])

    def _tell(self, node: Object, reason: str, message: str) -> None:
        self.events.normal(node, reason, f"Node {node['metadata']['name']} event: {message}")

    def _node_that_evicts(self, pod: Object) -> list[str]:
        """Return a pod's node where something is to be done about its pods: else a change of one is nobody's affair."""
        names = node_of(pod)
        node = self.nodes.get(names[0]) if names else None
        return names if node is not None and (has_no_execute(node) or not is_ready(node)) else []

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is None:
            self.heard.pop(key, None)
            self._bearing.pop(key, None)
            return None
        if node["metadata"]["uid"] not in self._registered:
            self._registered.add(node["metadata"]["uid"])
            self._tell(node, "RegisteredNode", f"Registered Node {key} in Controller")
        now = asyncio.get_running_loop().time()
        silent_for = now - self.heard.setdefault(key, now)
        ready = condition_of(node, "Ready")
        grace = GRACE_SECONDS if ready is not None else STARTUP_SECONDS
        if silent_for >= grace and (ready is None or ready["status"] != "Unknown"):
            await self._mark_unknown(node)
            return None  # we are called again with the node as it is then
        wait = self._wait(node, now)
        taints = wanted_taints(node, timestamp(), evicts=wait == 0)
        if taints != ((node.get("spec") or {}).get("taints") or []):
            metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
            await self.client.patch(NODES, key, {"metadata": metadata, "spec": {"taints": taints or None}})
        if (condition_of(node, "Ready") or {"status": "True"})["status"] != "True":
            await self._mark_pods_not_ready(key)
        looks = [max(grace - silent_for, 1.0)] if silent_for < grace else []
        looks += [wait] if wait else []
        if (next_eviction := await self._evict(key, taints)) is not None:
            looks.append(next_eviction)
        return min(looks, default=None)

    def _wait(self, node: Object, now: float) -> float | None:
        """Return how long a node's pods are still left alone: 0 where they may be evicted, None: until zones change."""
        if is_ready(node) or condition_of(node, "Ready") is None:
            return None  # it is well, or has only just come
        if self.zones.all_disrupted:
            return None
        if is_being_evicted(node):
            return 0.0
        zone = zone_of(node)
        return self.pace.wait(zone, self.zones.rate(zone), now)

    async def _mark_unknown(self, node: Object) -> None:
        conditions = silenced(node, timestamp())
        if is_ready(node):
            self.events.normal(node, "NodeNotReady", f"Node {node['metadata']['name']} status is now: NodeNotReady")
        updated = {**node, "status": {**node.get("status", {}), "conditions": conditions}}
        await self.client.update(NODES, updated, subresource="status")

    async def _mark_pods_not_ready(self, name: str) -> None:
        """Take the pods of a node out of their Services."""
        for pod in self.pods.by_index(BY_NODE, name):
            if not is_pod_ready(pod):
                continue
            metadata = pod["metadata"]
            ready = {**(condition_of(pod, "Ready") or {}), "status": "False"}
            ready.pop("lastTransitionTime", None)
            conditions = with_condition(list(pod["status"]["conditions"]), ready, timestamp())
            patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": conditions}}
            await self.client.patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
            self.events.warning(pod, "NodeNotReady", "Node is not ready")

    async def _evict(self, name: str, taints: list[Object]) -> float | None:
        """Delete pods that do not tolerate the taints (any longer); return when to look again."""
        soonest: float | None = None
        now, before = asyncio.get_running_loop().time(), self._bearing.pop(name, {})
        evicts = any(taint["effect"] == "NoExecute" for taint in taints)
        if not evicts and not before:
            return None
        bearing: dict[str, float] = {}
        if evicts:
            self._bearing[name] = bearing
        for pod in self.pods.by_index(BY_NODE, name):
            if "deletionTimestamp" in pod["metadata"]:
                continue
            uid = pod["metadata"]["uid"]
            since = before.get(uid, now)
            left = toleration_left(pod, taints, now - since)
            if left is None:
                if uid in before:
                    self.events.normal(pod, "TaintManagerEviction", f"Cancelling deletion of Pod {key_of(pod)}")
                continue
            bearing[uid] = since
            if left <= 0:
                self.events.normal(pod, "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
                await self._delete(pod)
            else:
                soonest = left if soonest is None else min(soonest, left)
        return soonest

    async def _delete(self, pod: Object) -> None:
        """Delete a pod with its grace period; it says first why."""
        message = "Taint manager: deleting due to NoExecute taint"
        await end(self.client, pod, disrupted(pod.get("status") or {}, "DeletionByTaintManager", message, timestamp()))
