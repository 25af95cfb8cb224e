"""Pods for which room is being made on a node: while their victims end, no pod that is less important may take the room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.scheduler.pod_info import PodInfo


class Nominations:
    """``left`` is told of room that was kept for a pod on a node and is anybody's now."""

    def __init__(self, left: Callable[[PodInfo, str], None] = lambda pod, node: None) -> None:
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._nodes: dict[str, str] = {}
        self._left = left

    def set(self, pod: PodInfo, node: str) -> None:
        """Have room kept for a pod on a node, or nowhere (with an empty name)."""
        before = self._take(pod.key)
        if node:
            self._nodes[pod.key] = node
            self._by_node.setdefault(node, {})[pod.key] = pod
        if before and before[1] != node:
            self._left(*before)

    def drop(self, key: str, goes_to: str = "") -> None:
        """Keep no room for a pod any more. ``goes_to``: the node that it goes to; room there is its own."""
        before = self._take(key)
        if before and before[1] != goes_to:
            self._left(*before)

    def _take(self, key: str) -> tuple[PodInfo, str] | None:
        node = self._nodes.pop(key, "")
        if not node:
            return None
        pods = self._by_node[node]
        pod = pods.pop(key)
        if not pods:
            del self._by_node[node]
        return pod, node

    def node_of(self, key: str) -> str:
        return self._nodes.get(key, "")

    def on(self, node: str) -> Iterable[PodInfo]:
        """Return the pods nominated to a node."""
        pods = self._by_node.get(node)
        return pods.values() if pods else ()

    def __bool__(self) -> bool:
        return bool(self._nodes)
