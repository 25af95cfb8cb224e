"""Nodes that fall silent: Ready becomes Unknown, taints follow, and pods on a lost node are deleted in time.

A node is heard by its Lease (``kube-node-lease``) and its status. Silence is timed by one wake-up per node, not by
polling. Also pod garbage collection: pods of nodes that no longer exist. Source: KEP-589 (Lease heartbeats), the taints
``node.kubernetes.io/not-ready`` and ``unreachable``, their 300 s tolerations.
"""

from __future__ import annotations

import asyncio

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import NODES, PODS
from sampan.controllers.ownership import condition_of, is_pod_ready, with_condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

GRACE_SECONDS = 50.0
"""How long a node may be silent (node-monitor-grace-period)."""
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
BY_NODE = "node"
QUARANTINE_SECONDS = 40.0
"""How long pods of a node that is not there are left alone: it may be about to register (pod garbage collector)."""


def node_of(pod: Object) -> list[str]:
    """Index function: the node a pod is bound to."""
    name = pod["spec"].get("nodeName")
    return [name] if name else []


def wanted_taints(node: Object, now: str) -> list[Object]:
    """Return the taints a node should have: its own, and those of its condition."""
    ours = {NOT_READY, UNREACHABLE, UNSCHEDULABLE}
    spec = node.get("spec") or {}
    have = {(t["key"], t["effect"]): t for t in spec.get("taints") or ()}
    kept = [t for t in spec.get("taints") or () if t["key"] not in ours]
    ready = condition_of(node, "Ready")
    state = ready["status"] if ready else "False"
    wanted: list[tuple[str, str]] = []
    if spec.get("unschedulable"):
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    if state != "True":
        key = UNREACHABLE if state == "Unknown" else NOT_READY
        wanted += [(key, "NoSchedule"), (key, "NoExecute")]
    for key, effect in wanted:
        fresh = {"key": key, "effect": effect, **({"timeAdded": now} if effect == "NoExecute" else {})}
        kept.append(have.get((key, effect), fresh))
    return kept


def toleration_left(pod: Object, taints: list[Object]) -> float | None:
    """Return the seconds a pod may stay on a node with NoExecute taints; None: for ever."""
    left: float | None = None
    for taint in taints:
        if taint["effect"] != "NoExecute":
            continue
        tolerated = [t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)]
        if not tolerated:
            return 0.0
        limits = [t["tolerationSeconds"] for t in tolerated if t.get("tolerationSeconds") is not None]
        if limits:
            since = seconds_since(taint["timeAdded"]) if taint.get("timeAdded") else 0.0
            left = min(left if left is not None else min(limits) - since, min(limits) - since)
    return left


class NodeLifecycleController(Controller):
    name = "node-controller"

    def __init__(
        self, client: Client, nodes: Informer, leases: Informer, pods: Informer, events: EventRecorder
    ) -> None:
        super().__init__(client)
        self.nodes, self.leases, self.pods, self.events = nodes, leases, pods, events
        self.heard: dict[str, float] = {}
        self.missing: dict[str, float] = {}
        pods.add_index(BY_NODE, node_of)
        leases.add_handler(self._on_lease)
        self.watch(nodes)
        self.watch(pods, node_of)

    def _on_lease(self, change: str, old: Object | None, new: Object) -> None:
        if change != "DELETED" and new["metadata"].get("namespace") == "kube-node-lease":
            name = new["metadata"]["name"]
            self.heard[name] = asyncio.get_running_loop().time()
            node = self.nodes.get(name)
            if node is not None and (condition_of(node, "Ready") or {}).get("status") == "Unknown":
                self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is None:
            self.heard.pop(key, None)
            return await self._collect_pods(key)
        self.missing.pop(key, None)
        now = asyncio.get_running_loop().time()
        silent_for = now - self.heard.setdefault(key, now)
        ready = condition_of(node, "Ready")
        if silent_for >= GRACE_SECONDS and ready is not None and ready["status"] != "Unknown":
            node = await self._mark_unknown(node)
        taints = wanted_taints(node, timestamp())
        if taints != ((node.get("spec") or {}).get("taints") or []):
            metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
            await self.client.patch(NODES, key, {"metadata": metadata, "spec": {"taints": taints or None}})
        if (condition_of(node, "Ready") or {"status": "True"})["status"] != "True":
            await self._mark_pods_not_ready(key)
        looks = [max(GRACE_SECONDS - silent_for, 1.0)] if silent_for < GRACE_SECONDS else []
        if (next_eviction := await self._evict(key, taints)) is not None:
            looks.append(next_eviction)
        return min(looks, default=None)

    async def _mark_unknown(self, node: Object) -> Object:
        now = timestamp()
        conditions = list(node.get("status", {}).get("conditions") or ())
        for type in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            unknown = {
                "type": type,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }
            conditions = with_condition(conditions, unknown, now)
        self.events.normal(node, "NodeNotReady", f"Node {node['metadata']['name']} status is now: NodeNotReady")
        updated = {**node, "status": {**node.get("status", {}), "conditions": conditions}}
        return await self.client.update(NODES, updated, subresource="status")

    async def _mark_pods_not_ready(self, name: str) -> None:
        """Take the pods of a node out of their Services."""
        for pod in self.pods.by_index(BY_NODE, name):
            if not is_pod_ready(pod):
                continue
            metadata = pod["metadata"]
            silent = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"}
            conditions = with_condition(list(pod["status"]["conditions"]), silent, timestamp())
            patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": conditions}}
            await self.client.patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
            self.events.warning(pod, "NodeNotReady", "Node is not ready")

    async def _evict(self, name: str, taints: list[Object]) -> float | None:
        """Delete pods that do not tolerate the taints (any longer); return when to look again."""
        soonest: float | None = None
        for pod in self.pods.by_index(BY_NODE, name):
            if "deletionTimestamp" in pod["metadata"]:
                continue
            left = toleration_left(pod, taints)
            if left is None:
                continue
            if left <= 0:
                metadata = pod["metadata"]
                self.events.normal(
                    pod, "TaintManagerEviction", f"Marking for deletion Pod {metadata['namespace']}/{metadata['name']}"
                )
                await self._delete(pod, None)
            else:
                soonest = left if soonest is None else min(soonest, left)
        return soonest

    async def _collect_pods(self, name: str) -> float | None:
        """Delete the pods of a node that has not existed for a while; return when to look again."""
        pods = self.pods.by_index(BY_NODE, name)
        if not pods:
            self.missing.pop(name, None)
            return None
        now = asyncio.get_running_loop().time()
        left = self.missing.setdefault(name, now) + QUARANTINE_SECONDS - now
        if left > 0:
            return left
        for pod in pods:
            await self._delete(pod, 0)
        return None

    async def _delete(self, pod: Object, grace_period_seconds: int | None) -> None:
        metadata = pod["metadata"]
        try:
            await self.client.delete(
                PODS,
                metadata["name"],
                metadata["namespace"],
                grace_period_seconds=grace_period_seconds,
                uid=metadata["uid"],
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
