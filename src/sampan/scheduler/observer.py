"""What informers tell: it keeps the state of the cluster, the nominations and the queue up to date, and wakes who waited."""

from __future__ import annotations

from collections.abc import Callable, Container

from sampan.client.informer import key_of
from sampan.client.protocol import ResourceType
from sampan.client.resources import NAMESPACES, NODES, PODS
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.framework import ADD, DELETE, UPDATE
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.pod_events import counts_anew, matters, node_changes, pod_changes
from sampan.scheduler.pod_info import OVER, PodInfo
from sampan.scheduler.queue import SchedulingQueue
from sampan.schema.objects import Object

ACTIONS = {"ADDED": ADD, "MODIFIED": UPDATE, "DELETED": DELETE}


class Observer:
    """``schedulers`` are the names of the profiles; ``cancel`` ends the binding of a pod, by its key."""

    def __init__(
        self,
        cluster: ClusterState,
        nominations: Nominations,
        queue: SchedulingQueue,
        schedulers: Container[str],
        cancel: Callable[[str], None],
    ) -> None:
        self.cluster, self.nominations, self.queue = cluster, nominations, queue
        self._schedulers, self._cancel = schedulers, cancel

    def _is_ours(self, pod: Object) -> bool:
        """Whether a pod is ours to place: no node yet, and not going away."""
        return (
            not pod["spec"].get("nodeName")
            and pod["spec"].get("schedulerName", "default-scheduler") in self._schedulers
            and "deletionTimestamp" not in pod["metadata"]
            and (pod.get("status") or {}).get("phase") not in OVER
        )

    def on_pod(self, change: str, old: Object | None, new: Object) -> None:
        key = key_of(new)
        if change == "DELETED" or (new.get("status") or {}).get("phase") in OVER:
            self._cancel(key)
            counted = key in self.cluster.placed
            self.cluster.remove(key)
            self._forget(key)
            if counted:
                self.queue.event(PODS, DELETE, new, None)
        elif new["spec"].get("nodeName"):
            self._on_placed(key, old, new)
        elif self._is_ours(new):
            info = PodInfo(new)
            if key not in self.cluster.assumed:
                told = old is None or PodInfo(old).nominated != info.nominated
                self.nominations.set(info, info.nominated if told else self.nominations.node_of(key))
            self.queue.add(info)
        else:
            self._forget(key)

    def _forget(self, key: str) -> None:
        self.queue.delete(key)
        self.nominations.drop(key)

    def _on_placed(self, key: str, old: Object | None, new: Object) -> None:
        if old is not None and key in self.cluster.placed and key not in self.cluster.assumed:
            if counts_anew(old, new):
                self.cluster.add(PodInfo(new))
            for action in pod_changes(old, new):
                self.queue.event(PODS, action, old, new)
            return
        self.queue.delete(key)
        assumed = self.cluster.assumed.get(key)
        if assumed is not None and confirms(assumed, new):
            self.cluster.confirm(assumed.renewed(new))
        else:
            if assumed is not None:
                self._cancel(key)  # somebody else has bound it elsewhere: what was reserved for it is taken back
            self.cluster.add(PodInfo(new))
        self.nominations.drop(key, new["spec"]["nodeName"])
        self.queue.event(PODS, ADD, None, new)

    def on_node(self, change: str, old: Object | None, new: Object) -> None:
        if change == "DELETED":
            self.cluster.remove_node(new["metadata"]["name"])
            self.queue.event(NODES, DELETE, new, None)
            return
        if old is not None and not matters(old, new):
            return
        self.cluster.set_node(new)
        for action in [ADD] if old is None else node_changes(old, new):
            self.queue.event(NODES, action, old, new)

    def on_namespace(self, change: str, old: Object | None, new: Object) -> None:
        name = new["metadata"]["name"]
        if change == "DELETED":
            self.cluster.namespaces.pop(name, None)
            self.cluster.counts.forget(name)
            return
        labels = new["metadata"].get("labels") or {}
        if self.cluster.namespaces.get(name) != labels:
            self.cluster.namespaces[name] = labels
            self.queue.event(NAMESPACES, ADD if old is None else UPDATE, old, new)

    def on_any(self, resource: ResourceType) -> Callable[[str, Object | None, Object], None]:
        """Return a handler of a resource that only plugins have an interest in."""

        def on_change(change: str, old: Object | None, new: Object) -> None:
            if change == "DELETED":
                self.queue.event(resource, DELETE, new, None)
            else:
                self.queue.event(resource, ACTIONS[change], old, new)

        return on_change


def confirms(assumed: PodInfo, pod: Object) -> bool:
    """Whether a pod that the API shows is the one that was assumed, and counts the same."""
    same = assumed.node == pod["spec"].get("nodeName") and assumed.uid == pod["metadata"].get("uid", "")
    return same and not counts_anew(assumed.object, pod)
