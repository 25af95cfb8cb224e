"""A node as the scheduler sees it: what it offers and what its pods have taken.

Numbers are integers: CPU in milli-CPU, everything else in units (bytes, pods). Pods that were bound but are not yet seen
so by the informer count too ("assumed").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse

EVERY_ADDRESS = "0.0.0.0"


def amount(resource: str, quantity: object) -> int:
    """Return a quantity as an integer, milli for cpu; what is no quantity counts nothing."""
    return _amount(resource, str(quantity))


@lru_cache(4096)
def _amount(resource: str, quantity: str) -> int:
    try:
        parsed = parse(quantity)
    except QuantityError:
        return 0
    return parsed.milli() if resource == "cpu" else parsed.value()


def requests_of(pod: Object) -> dict[str, int]:
    """Return what a pod asks for: the sum of its containers, or the largest init container beside the restartable ones
    before it (KEP-753); or what is said of the whole pod (KEP-2837); plus overhead."""
    total: dict[str, int] = {}
    largest: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in pod["spec"].get("containers") or ():
        add(total, asked(container))
    for container in pod["spec"].get("initContainers") or ():
        own = asked(container)
        if container.get("restartPolicy") == "Always":
            add(total, own)
            add(sidecars, own)
            own = sidecars
        else:
            add(own, sidecars)
        for name, value in own.items():
            largest[name] = max(largest.get(name, 0), value)
    for name, value in largest.items():
        total[name] = max(total.get(name, 0), value)
    total |= asked(pod["spec"])
    add(total, {name: amount(name, value) for name, value in (pod["spec"].get("overhead") or {}).items()})
    return total


def asked(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: amount(name, value) for name, value in wanted.items()}


def add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def host_ports(pod: Object) -> set[HostPort]:
    """Return the ports of the node that a pod takes; restartable init containers run beside the others (KEP-753)."""
    sidecars = (c for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always")
    return {
        HostPort(port.get("hostIP") or EVERY_ADDRESS, port.get("protocol", "TCP"), port["hostPort"])
        for container in (*(pod["spec"].get("containers") or ()), *sidecars)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


class HostPort(NamedTuple):
    """A port of a node, on one address of it or on all."""

    address: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        shared = self.address == other.address or EVERY_ADDRESS in (self.address, other.address)
        return shared and self[1:] == other[1:]


@dataclass(slots=True)
class NodeState:
    node: Object
    pods: list[Object] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    ports: set[HostPort] = field(default_factory=set)
    repellent: list[Object] = field(default_factory=list)
    """Its pods with required anti-affinity."""
    owners: dict[str, int] = field(default_factory=dict)
    """How many of its pods an owner (by uid) has."""
    repellers: dict[str, NodeState] = field(default_factory=dict, repr=False)
    """The nodes of the cluster that have repellent pods, by name: one dict that all nodes share."""
    cluster: Mapping[str, NodeState] = field(default_factory=dict, repr=False)
    """All nodes by name, this one included: for plugins that look at topologies."""

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return self.node["metadata"].get("labels") or {}

    @property
    def spec(self) -> Object:
        return self.node.get("spec") or {}

    def allocatable(self, resource: str) -> int:
        return amount(resource, (self.node.get("status", {}).get("allocatable") or {}).get(resource, "0"))

    def shares(self, other: NodeState, topology_key: str) -> bool:
        """Whether both nodes are in the same domain of a topology."""
        value = self.labels.get(topology_key)
        return value is not None and value == other.labels.get(topology_key)

    def domain_pods(self, topology_key: str) -> Iterator[Object]:
        """Yield the pods of all nodes of this node's domain."""
        for other in self.cluster.values():
            if self.shares(other, topology_key):
                yield from other.pods

    def take(self, pod: Object) -> None:
        self.pods.append(pod)
        if (pod["spec"].get("affinity") or {}).get("podAntiAffinity"):
            self.repellent.append(pod)
            self.repellers[self.name] = self
        for reference in pod["metadata"].get("ownerReferences") or ():
            self.owners[reference["uid"]] = self.owners.get(reference["uid"], 0) + 1
        add(self.used, requests_of(pod))
        self.ports |= host_ports(pod)


def states(nodes: Iterable[Object], pods: Iterable[Object]) -> dict[str, NodeState]:
    """Return every node with the pods that are on it."""
    found = {node["metadata"]["name"]: NodeState(node) for node in nodes}
    repellers: dict[str, NodeState] = {}
    for state in found.values():
        state.cluster, state.repellers = found, repellers
    for pod in pods:
        host = found.get(pod["spec"].get("nodeName") or "")
        if host is not None and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            host.take(pod)
    return found
