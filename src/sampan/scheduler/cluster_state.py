"""All nodes with their pods, changed event by event and never rebuilt: what a scheduling cycle looks at.

A pod counts on its node as soon as it is chosen ("assumed"), so that several bindings can be under way; the informer
confirms it later. A cycle runs without waiting for anything, so nothing changes under it and no copy is needed. Pods of
nodes that are not there are kept until their node comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sampan.scheduler.match_index import PodCounts, TermIndex
from sampan.scheduler.node_info import NodeInfo, zone_of
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object


class ClusterState:
    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        """By name: those that exist."""
        self.placed: dict[str, PodInfo] = {}
        """Every pod that counts on a node, by key."""
        self.assumed: dict[str, PodInfo] = {}
        """Those of them whose binding is under way."""
        self.counts = PodCounts()
        """Its counts are by node name, of nodes that are not there too."""
        self.repelling = TermIndex()
        """The required anti-affinity of the pods that are there."""
        self.requiring = TermIndex()
        """Their required affinity."""
        self.preferring = TermIndex()
        """Their preferred affinity and (with negative weights) anti-affinity."""
        self.image_nodes: dict[str, int] = {}
        """How many nodes have an image."""
        self.version = 0
        """Raised with each change of a node's object: what is remembered about all nodes is good for one value."""
        self.namespaces: dict[str, Mapping[str, str]] = {}
        """The labels of every namespace."""
        self._waiting_for_node: dict[str, NodeInfo] = {}
        self._order: list[NodeInfo] | None = None

    # nodes

    def set_node(self, node: Object) -> NodeInfo:
        name = node["metadata"]["name"]
        self.version += 1
        info = self.nodes.get(name)
        if info is None:
            info = self._waiting_for_node.pop(name, None) or NodeInfo(name)
            self.nodes[name] = info
            self._order = None
        elif zone_of(info.labels) != zone_of(node["metadata"].get("labels") or {}):
            self._order = None
        self._count_images(info, -1)
        info.observe(node)
        self._count_images(info, 1)
        return info

    def remove_node(self, name: str) -> None:
        info = self.nodes.pop(name, None)
        if info is None:
            return
        self.version += 1
        self._order = None
        self._count_images(info, -1)
        if info.pods:
            info.observe({"metadata": {"name": name}})
            self._waiting_for_node[name] = info

    def _count_images(self, info: NodeInfo, sign: int) -> None:
        for image in info.images:
            count = self.image_nodes.get(image, 0) + sign
            if count > 0:
                self.image_nodes[image] = count
            else:
                self.image_nodes.pop(image, None)

    def ordered(self) -> list[NodeInfo]:
        """Return the nodes, one of each zone in turn, so that the first of them are of all zones."""
        if self._order is None:
            self._order = list(in_turn(self.nodes.values()))
        return self._order

    # pods

    def add(self, pod: PodInfo) -> None:
        """Count a pod on its node, or count it anew: it changed, or was assumed."""
        self.remove(pod.key)
        self.placed[pod.key] = pod
        info = self.nodes.get(pod.node)
        if info is None:
            info = self._waiting_for_node.setdefault(pod.node, NodeInfo(pod.node))
        info.add(pod)
        self.counts.add(pod)
        self._index(pod, 1)

    def confirm(self, pod: PodInfo) -> None:
        """Take over the newer object of a pod that counts on its node already, and the same: nothing is counted anew."""
        self.assumed.pop(pod.key, None)
        self.placed[pod.key] = pod
        info = self.nodes.get(pod.node) or self._waiting_for_node.get(pod.node)
        if info is not None:
            info.pods[pod.key] = pod
        self.counts.replace(pod)

    def remove(self, key: str) -> None:
        self.assumed.pop(key, None)
        pod = self.placed.pop(key, None)
        if pod is None:
            return
        self.counts.remove(pod)
        self._index(pod, -1)
        info = self.nodes.get(pod.node) or self._waiting_for_node.get(pod.node)
        if info is None:
            return
        info.remove(key)
        if not info.pods and pod.node not in self.nodes:
            self._waiting_for_node.pop(pod.node, None)

    def assume(self, pod: PodInfo) -> None:
        """Count a pod on the node that was chosen for it."""
        self.add(pod)
        self.assumed[pod.key] = pod

    def _index(self, pod: PodInfo, sign: int) -> None:
        if not pod.affinity:
            return
        self.repelling.change(pod.node, ((term, 0) for term in pod.required_anti_affinity), sign)
        self.requiring.change(pod.node, ((term, 0) for term in pod.required_affinity), sign)
        self.preferring.change(pod.node, ((term, term.weight) for term in pod.preferred_affinity), sign)
        self.preferring.change(pod.node, ((term, -term.weight) for term in pod.preferred_anti_affinity), sign)


def in_turn(nodes: Iterable[NodeInfo]) -> Iterator[NodeInfo]:
    """Yield the nodes, one of each zone in turn."""
    zones: dict[str, list[NodeInfo]] = {}
    for node in nodes:
        zones.setdefault(zone_of(node.labels), []).append(node)
    for place in range(max(map(len, zones.values()), default=0)):
        for zone in zones.values():
            if place < len(zone):
                yield zone[place]


def cluster_of(nodes: Iterable[Object], pods: Iterable[Object] = ()) -> ClusterState:
    """Return the state of nodes and of the pods that are on them: for tests, and for plans that are no cluster's."""
    cluster = ClusterState()
    for node in nodes:
        cluster.set_node(node)
    for pod in pods:
        info = PodInfo(pod)
        if info.node and not info.over:
            cluster.add(info)
    return cluster
