"""Pods for which room is being made on a node: while their victims end, no pod that is less important may take the room."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.scheduler.pod_info import PodInfo


class Nominations:
    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._nodes: dict[str, str] = {}

    def set(self, pod: PodInfo, node: str) -> None:
        """Nominate a pod to a node, or to none with an empty name."""
        self.drop(pod.key)
        if node:
            self._nodes[pod.key] = node
            self._by_node.setdefault(node, {})[pod.key] = pod

    def drop(self, key: str) -> str:
        """Forget a pod's nomination; return the node it was to."""
        node = self._nodes.pop(key, "")
        if node:
            pods = self._by_node[node]
            del pods[key]
            if not pods:
                del self._by_node[node]
        return node

    def node_of(self, key: str) -> str:
        return self._nodes.get(key, "")

    def on(self, node: str) -> Iterable[PodInfo]:
        """Return the pods nominated to a node."""
        pods = self._by_node.get(node)
        return pods.values() if pods else ()

    def __bool__(self) -> bool:
        return bool(self._nodes)
