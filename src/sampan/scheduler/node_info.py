"""A node as the scheduler sees it: what it offers and what its pods have taken, kept up to date pod by pod."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.scheduler.pod_info import HostPort, PodInfo, Requests, amounts
from sampan.schema.objects import Object

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
IMPLIED_TAG = ":latest"


class NodeInfo:
    """A node with its pods. ``pods`` are by key, in the order they came."""

    __slots__ = (
        "allocatable", "allowed_pods", "generation", "images", "labels", "name", "object", "pods", "ports", "requested",
        "scored", "spec", "taints", "unschedulable",
    )  # fmt: skip

    def __init__(self, name: str, node: Object | None = None) -> None:
        self.name = name
        self.pods: dict[str, PodInfo] = {}
        self.requested: Requests = {}
        self.scored: Requests = {}
        """What is requested as scores count it."""
        self.ports: dict[HostPort, int] = {}
        """How many of its pods take a port."""
        self.generation = 0
        """Changes with everything that may change what a plugin says of the node alone."""
        self.observe(node or {"metadata": {"name": name}})

    def observe(self, node: Object) -> None:
        """Take over a new state of the Node."""
        self.object = node
        self.labels: Mapping[str, str] = node["metadata"].get("labels") or {}
        self.spec: Object = node.get("spec") or {}
        self.taints: list[Object] = self.spec.get("taints") or []
        self.unschedulable = bool(self.spec.get("unschedulable"))
        status = node.get("status") or {}
        self.allocatable = amounts(status.get("allocatable"))
        self.allowed_pods = self.allocatable.get("pods", 0)
        self.images: dict[str, int] = {
            with_tag(name): image.get("sizeBytes") or 0
            for image in status.get("images") or ()
            for name in image.get("names") or ()
        }
        self.generation += 1

    def __repr__(self) -> str:
        return f"NodeInfo({self.name!r}, {len(self.pods)} pods)"

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.key] = pod
        self._count(pod, 1)

    def remove(self, key: str) -> PodInfo | None:
        """Take a pod away again; return it as it was added."""
        pod = self.pods.pop(key, None)
        if pod is not None:
            self._count(pod, -1)
        return pod

    def _count(self, pod: PodInfo, sign: int) -> None:
        self.generation += 1
        for total, more in ((self.requested, pod.requests), (self.scored, pod.scored_requests)):
            for name, value in more.items():
                total[name] = total.get(name, 0) + sign * value
        for port in pod.ports:
            taken = self.ports.get(port, 0) + sign
            if taken > 0:
                self.ports[port] = taken
            else:
                self.ports.pop(port, None)

    def clone(self) -> NodeInfo:
        """Return a copy whose pods can be changed without changing this node's."""
        copy = NodeInfo.__new__(NodeInfo)
        for name in NodeInfo.__slots__:
            value = getattr(self, name)
            setattr(copy, name, dict(value) if name in COPIED else value)
        return copy


COPIED = frozenset({"pods", "requested", "scored", "ports"})


def with_tag(image: str) -> str:
    """Return an image's name with the tag it means when it has none."""
    return image if ":" in image.rpartition("/")[2] or "@" in image else image + IMPLIED_TAG


def zone_of(labels: Mapping[str, str]) -> str:
    """Return the zone of a node's labels as one word, empty when it has none."""
    region = labels.get(REGION) or labels.get("failure-domain.beta.kubernetes.io/region") or ""
    zone = labels.get(ZONE) or labels.get("failure-domain.beta.kubernetes.io/zone") or ""
    return f"{region}:{zone}" if region or zone else ""
