"""A pod as the scheduler sees it: read once from its object, then asked many times.

Numbers are integers: CPU in milli-CPU, everything else in units (bytes, devices). Sources: KEP-753 (restartable init
containers), KEP-2837 (resources of the whole pod), KEP-1287 (resizes in place), core/v1 PodAffinityTerm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse
from sampan.schema.selectors import LabelSelector, label_selector

EVERY_ADDRESS = "0.0.0.0"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
SCORED_CPU, SCORED_MEMORY = 100, 200 * 2**20
"""What scores count for a container that asks for nothing (milli-CPU, bytes)."""
OVER = ("Succeeded", "Failed")
Requests = dict[str, int]


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


def amounts(quantities: Mapping[str, object] | None) -> Requests:
    return {name: amount(name, value) for name, value in (quantities or {}).items()}


def add(total: Requests, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def largest(total: Requests, other: Mapping[str, int]) -> None:
    """Raise each resource of ``total`` to what ``other`` has of it."""
    for name, value in other.items():
        if value > total.get(name, 0):
            total[name] = value


def asked(container: Object) -> Requests:
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def scored(container: Object) -> Requests:
    """Return what scores count for a container: a little for what it does not ask for."""
    return {"cpu": SCORED_CPU, "memory": SCORED_MEMORY, **asked(container)}


class Resizing:
    """What a pod's containers hold now, for those that are being resized (KEP-1287): the larger of what is asked and what
    is held counts, and only the latter when the node cannot grant the former."""

    def __init__(self, pod: Object) -> None:
        status = pod.get("status") or {}
        found = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
        self.held: dict[str, Requests] = {}
        for one in found:
            held = amounts((one.get("resources") or {}).get("requests"))
            largest(held, amounts(one.get("allocatedResources")))
            if held:
                self.held[one["name"]] = held
        self.infeasible = bool(self.held) and any(
            condition.get("type") == "PodResizePending" and condition.get("reason") == "Infeasible"
            for condition in status.get("conditions") or ()
        )

    def of(self, container: Object, wanted: Requests) -> Requests:
        held = self.held.get(container.get("name", "")) if self.held else None
        if held is None:
            return wanted
        if self.infeasible:
            return {**wanted, **held}
        largest(wanted, held)
        return wanted


def requests_of(pod: Object, *, for_scores: bool = False) -> Requests:
    """Return what a pod asks for: the sum of its containers, or the largest init container beside the restartable ones
    before it (KEP-753); or what is said of the whole pod (KEP-2837); plus overhead."""
    spec, resizing = pod["spec"], Resizing(pod)
    ask = scored if for_scores else asked
    total: Requests = {}
    first: Requests = {}
    sidecars: Requests = {}
    for container in spec.get("containers") or ():
        add(total, resizing.of(container, ask(container)))
    for container in spec.get("initContainers") or ():
        own = ask(container)
        if container.get("restartPolicy") == "Always":
            own = resizing.of(container, own)
            add(total, own)
            add(sidecars, own)
            own = sidecars
        else:
            add(own, sidecars)
        largest(first, own)
    largest(total, first)
    if spec.get("resources"):
        total |= asked(spec)
    if spec.get("overhead"):
        add(total, amounts(spec["overhead"]))
    return total


class HostPort(NamedTuple):
    """A port of a node, on one address of it or on all."""

    address: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        shared = self.address == other.address or EVERY_ADDRESS in (self.address, other.address)
        return shared and self[1:] == other[1:]


def host_ports(pod: Object) -> list[HostPort]:
    """Return the ports of the node that a pod takes; restartable init containers run beside the others (KEP-753)."""
    spec = pod["spec"]
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    return [
        HostPort(port.get("hostIP") or EVERY_ADDRESS, port.get("protocol") or "TCP", port["hostPort"])
        for container in (*(spec.get("containers") or ()), *sidecars)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


NamespaceLabels = Mapping[str, Mapping[str, str]]
"""The labels of every namespace, by name."""


class AffinityTerm:
    """A PodAffinityTerm with everything that depends on its own pod resolved: ``matchLabelKeys``, the namespaces."""

    __slots__ = ("namespace_selector", "namespaces", "selector", "topology_key", "weight")

    def __init__(self, term: Object, namespace: str, labels: Mapping[str, str], weight: int = 0) -> None:
        self.topology_key: str = term["topologyKey"]
        self.selector = narrowed(term, labels)
        chosen = term.get("namespaceSelector")
        self.namespace_selector: LabelSelector | None = label_selector(chosen) if chosen is not None else None
        names = term.get("namespaces") or ()
        self.namespaces = frozenset(names or (() if chosen is not None else (namespace,)))
        self.weight = weight

    def matches(self, pod: PodInfo, namespaces: NamespaceLabels) -> bool:
        """Whether the term means a pod."""
        if pod.namespace not in self.namespaces and (
            self.namespace_selector is None or not self.namespace_selector.matches(namespaces.get(pod.namespace))
        ):
            return False
        return self.selector.matches(pod.labels)


def narrowed(term: Object, labels: Mapping[str, str]) -> LabelSelector:
    """Return the selector of a term, narrowed to the pod's own values of ``matchLabelKeys`` and away from those of
    ``mismatchLabelKeys``. (The API adds both to the selector on create since 1.30; it does no harm to do so again.)"""
    selector = term.get("labelSelector")
    if selector is None:
        return label_selector(None)
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in labels
    ]
    if more:
        selector = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}
    return label_selector(selector)


class PodInfo:
    """A pod. What only few pods have (affinity, ports) is read when first asked for."""

    def __init__(self, pod: Object) -> None:
        self.object = pod
        metadata = pod["metadata"]
        self.metadata: Object = metadata
        self.spec: Object = pod["spec"]
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self.key = f"{self.namespace}/{self.name}"
        self.uid: str = metadata.get("uid", "")
        self.labels: Mapping[str, str] = metadata.get("labels") or {}
        self.priority: int = self.spec.get("priority") or 0
        self.node: str = self.spec.get("nodeName") or ""
        self.affinity: Object = self.spec.get("affinity") or {}

    def __repr__(self) -> str:
        return f"PodInfo({self.key!r})"

    @cached_property
    def requests(self) -> Requests:
        return requests_of(self.object)

    @cached_property
    def scored_requests(self) -> Requests:
        """What scores count: containers that ask for no cpu or memory take a little all the same."""
        return requests_of(self.object, for_scores=True)

    @cached_property
    def ports(self) -> list[HostPort]:
        return host_ports(self.object)

    @cached_property
    def tolerations(self) -> list[Object]:
        return self.spec.get("tolerations") or []

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.metadata

    @property
    def over(self) -> bool:
        return (self.object.get("status") or {}).get("phase") in OVER

    @property
    def nominated(self) -> str:
        """The node where room is being made for it."""
        return (self.object.get("status") or {}).get("nominatedNodeName") or ""

    @property
    def controller(self) -> Object | None:
        """The owner reference of its controller."""
        return next((one for one in self.metadata.get("ownerReferences") or () if one.get("controller")), None)

    @cached_property
    def required_affinity(self) -> list[AffinityTerm]:
        return self._terms("podAffinity", REQUIRED)

    @cached_property
    def required_anti_affinity(self) -> list[AffinityTerm]:
        return self._terms("podAntiAffinity", REQUIRED)

    @cached_property
    def preferred_affinity(self) -> list[AffinityTerm]:
        return self._weighted("podAffinity")

    @cached_property
    def preferred_anti_affinity(self) -> list[AffinityTerm]:
        return self._weighted("podAntiAffinity")

    def _terms(self, kind: str, when: str) -> list[AffinityTerm]:
        terms: Iterable[Object] = (self.affinity.get(kind) or {}).get(when) or ()
        return [AffinityTerm(term, self.namespace, self.labels) for term in terms]

    def _weighted(self, kind: str) -> list[AffinityTerm]:
        terms: Iterable[Object] = (self.affinity.get(kind) or {}).get(PREFERRED) or ()
        return [AffinityTerm(one["podAffinityTerm"], self.namespace, self.labels, one["weight"]) for one in terms]

    def renewed(self, pod: Object) -> PodInfo:
        """Return the pod by a newer object that counts the same; what was read of it is kept."""
        newer = PodInfo.__new__(PodInfo)
        newer.__dict__.update(self.__dict__)
        newer.object, newer.metadata, newer.spec = pod, pod["metadata"], pod["spec"]
        return newer

    def placed_on(self, node: str) -> PodInfo:
        """Return the same pod as if it were bound to a node; what was read of it is kept."""
        placed = PodInfo.__new__(PodInfo)
        placed.__dict__.update(self.__dict__)
        placed.node = node
        placed.spec = {**self.spec, "nodeName": node}
        placed.object = {**self.object, "spec": placed.spec}
        return placed


_last: tuple[Object | None, PodInfo | None] = (None, None)


def info_of(pod: Object) -> PodInfo:
    """Return a pod's info; the same event is shown to many waiting pods, so the last one is kept."""
    global _last
    if _last[0] is not pod or _last[1] is None:
        _last = (pod, PodInfo(pod))
    assert _last[1] is not None
    return _last[1]
