"""The scheduler: every pod without a node is bound to the best node, or told why there is none.

The nodes' state is kept up to date by events. A pod is counted on its node as soon as it is chosen ("assumed"), so that
several bindings can be under way. Pods that did not fit are tried again when a node changes, when a pod goes, and when one
comes or changes that they may have waited for: no polling.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import PODS
from sampan.scheduler.inter_pod_affinity import required, selects
from sampan.scheduler.node_state import NodeState, states
from sampan.scheduler.plugins import ENOUGH_NODES, choose, explain
from sampan.scheduler.topology_spread import constraints, is_spread
from sampan.schema.objects import Object

SCHEDULER_NAME = "default-scheduler"


def waits_for_us(pod: Object) -> bool:
    """Whether a pod is ours to place: no node, no gate, not going away."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and spec.get("schedulerName", SCHEDULER_NAME) == SCHEDULER_NAME
        and not spec.get("schedulingGates")
        and "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )


class Scheduler(Controller):
    name = "kube-scheduler"
    workers = 8

    def __init__(self, client: Client, pods: Informer, nodes: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.pods, self.nodes, self.events = pods, nodes, events
        self._states: dict[str, NodeState] | None = None
        self._assumed: dict[str, Object] = {}
        self._unplaced: dict[str, int] = {}
        self._begin = 0
        pods.add_handler(self._on_pod)
        nodes.add_handler(self._on_node)
        self.watch(pods, lambda pod: [key_of(pod)] if waits_for_us(pod) else [])

    async def run(self) -> None:
        await self.nodes.synced()
        await super().run()

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        key = key_of(new)
        finished = new.get("status", {}).get("phase") in ("Succeeded", "Failed")
        was_placed = old is not None and bool(old["spec"].get("nodeName"))
        if change == "DELETED" or (finished and was_placed):
            self._assumed.pop(key, None)
            self._states = None
            self._try_again()
        elif new["spec"].get("nodeName") and not was_placed:
            # an assumed pod is counted already; anything else was placed by others
            if self._assumed.pop(key, None) is None:
                self._states = None
            self._unplaced.pop(key, None)
            self._try_beside(new)
        elif old is not None and was_placed and taken(old) != taken(new):
            self._states = None
            self._try_again()

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        if old is not None and change == "MODIFIED" and relevant(old) == relevant(new):
            return
        self._states = None
        self._try_again()

    def _try_again(self) -> None:
        """Queue what found no place, the most important first."""
        for key in sorted(self._unplaced, key=lambda key: -self._unplaced[key]):
            self.queue.add(key)

    def _try_beside(self, placed: Object) -> None:
        """Queue what found no place and may have waited for the pod that was placed now."""
        for key in self._unplaced:
            pod = self.pods.get(key)
            if pod is not None and waits_for(pod, placed):
                self.queue.add(key)

    def _current(self) -> dict[str, NodeState]:
        if self._states is None:
            self._states = states(self.nodes, self.pods)
            for pod in self._assumed.values():
                node = self._states.get(pod["spec"]["nodeName"])
                if node is not None:
                    node.take(pod)
        return self._states

    def _from_another(self) -> list[NodeState]:
        """Return the nodes, beginning with another each time: where there are many, the first that fit are compared."""
        nodes = list(self._current().values())
        if len(nodes) <= ENOUGH_NODES:
            return nodes
        self._begin = (self._begin + ENOUGH_NODES) % len(nodes)
        return nodes[self._begin :] + nodes[: self._begin]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or not waits_for_us(pod) or key in self._assumed:
            self._unplaced.pop(key, None)
            return None
        nodes = self._from_another()
        node, reasons = choose(pod, nodes)
        if node is None:
            self._unplaced[key] = pod["spec"].get("priority") or 0
            await self._refuse(pod, explain(len(nodes), reasons))
            return None
        placed = {**pod, "spec": {**pod["spec"], "nodeName": node.name}}
        self._assumed[key] = placed
        node.take(placed)
        try:
            await self._bind(pod, node.name)
        except BaseException:
            self._assumed.pop(key, None)
            self._states = None
            raise
        metadata = pod["metadata"]
        self.events.normal(
            pod, "Scheduled", f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node.name}"
        )
        return None

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.client.create(PODS, binding, metadata["namespace"], name=metadata["name"], subresource="binding")

    async def _refuse(self, pod: Object, message: str) -> None:
        """Say why there is no node, once as long as the reasons stay the same."""
        conditions = pod.get("status", {}).get("conditions") or []
        for condition in conditions:
            if condition["type"] == "PodScheduled" and condition.get("message") == message:
                return
        self.events.warning(pod, "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        metadata = pod["metadata"]
        try:
            await self.client.patch(
                PODS,
                metadata["name"],
                {"status": {"conditions": [condition]}},
                metadata["namespace"],
                type="strategic",  # others' conditions are merged, not replaced by our copy of them
                subresource="status",
            )
        except ApiError as error:
            if not error.is_not_found:
                raise


def waits_for(pod: Object, placed: Object) -> bool:
    """Whether a pod that was placed can make room for another: it is wanted near, or evens out a spread."""
    return any(selects(term, pod, placed) for term in required(pod, "podAffinity")) or any(
        is_spread(constraint, pod, placed) for constraint in constraints(pod, "DoNotSchedule")
    )


def taken(pod: Object) -> object:
    """What of a placed pod matters to others: statuses do not."""
    spec = pod["spec"]
    return pod["metadata"].get("labels"), spec.get("resources"), [c.get("resources") for c in spec["containers"]]


def relevant(node: Object) -> object:
    """What of a node scheduling depends on: heartbeats do not count."""
    status = node.get("status", {})
    return node["metadata"].get("labels"), node.get("spec"), status.get("allocatable"), status.get("images")
