"""NodeResourcesFit: a node must have what a pod asks for, and the fuller or the emptier node is better, as one likes.

Source: ``NodeResourcesFitArgs``; the reasons are kube-scheduler's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sampan.client.resources import NODES, PODS
from sampan.scheduler.framework import (
    ADD,
    ALLOCATABLE,
    DELETE,
    SCALED_DOWN,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Status,
    interest,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.resource_scores import (
    Weighted,
    by_shape,
    least_allocated,
    mean,
    most_allocated,
    shape_of,
    shares,
)
from sampan.scheduler.pod_info import PodInfo, amounts, requests_of
from sampan.schema.objects import Object

TOO_MANY = unschedulable("Too many pods")
RATIO = "RequestedToCapacityRatio"
STRATEGIES = ("LeastAllocated", "MostAllocated", RATIO)
DEFAULT_RESOURCES: list[Object] = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    local = True
    ARGS: Mapping[str, Any] = {
        "ignoredResources": [],
        "ignoredResourceGroups": [],
        "scoringStrategy": {"type": "LeastAllocated", "resources": DEFAULT_RESOURCES},
    }

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        strategy = args["scoringStrategy"]
        self.resources = weighted(strategy.get("resources"))
        self.positive = strategy.get("type") == RATIO
        self.points = points_of(strategy)
        self._ignored = frozenset(args["ignoredResources"] or ())
        self._ignored_groups = frozenset(args["ignoredResourceGroups"] or ())

    @classmethod
    def check(cls, args: Mapping[str, Any]) -> None:
        strategy = args["scoringStrategy"]
        if strategy.get("type") not in STRATEGIES:
            names = ", ".join(f'"{name}"' for name in sorted(STRATEGIES))
            raise ValueError(f'scoringStrategy.type: Unsupported value: "{strategy.get("type")}": supported: {names}')
        if strategy.get("type") == RATIO and not (strategy.get("requestedToCapacityRatio") or {}).get("shape"):
            raise ValueError("scoringStrategy.requestedToCapacityRatio.shape: Required value: at least one point")
        for resource in strategy.get("resources") or ():
            if not 1 <= resource.get("weight", 1) <= 100:
                raise ValueError(f"scoringStrategy.resources: weight of {resource['name']} not in valid range [1-100]")

    def ignored(self, resource: str) -> bool:
        """Whether the configuration leaves an extended resource to somebody else."""
        group, slash, _ = resource.rpartition("/")
        return resource in self._ignored or bool(slash and group in self._ignored_groups)

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        state[self.name] = [(name, n) for name, n in pod.requests.items() if n and not self.ignored(name)]
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        requested, allocatable = node.requested, node.allocatable
        for name, wanted in state[self.name]:
            if requested.get(name, 0) + wanted > allocatable.get(name, 0):
                return self._short(state, node)
        return TOO_MANY if len(node.pods) >= node.allowed_pods else None

    def _short(self, state: CycleState, node: NodeInfo) -> Status:
        """Return everything that is short, since ``kubectl describe`` names it all."""
        reasons = ["Too many pods"] if len(node.pods) >= node.allowed_pods else []
        never = False
        for name, wanted in state[self.name]:
            there = node.allocatable.get(name, 0)
            if node.requested.get(name, 0) + wanted > there:
                reasons.append(f"Insufficient {name}")
                never = never or wanted > there
        return unresolvable(*reasons) if never else unschedulable(*reasons)

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        wanted, points, resources, positive = pod.scored_requests, self.points, self.resources, self.positive
        found = []
        for node in nodes:
            each = shares(resources, wanted, node.scored, node.allocatable)
            scored = [(points(used, there), weight) for used, there, weight in each]
            found.append(mean(scored, only_positive=positive))
        return found

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        return self.scores(state, pod, (node,))[0]

    def interests(self) -> tuple[Interest, ...]:
        def frees(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            if old is None:
                return False
            freed = requests_of(old)
            if new is not None:
                freed = {name: count - requests_of(new).get(name, 0) for name, count in freed.items()}
                return any(pod.requests.get(name) and count > 0 for name, count in freed.items())
            # a pod that goes leaves its place among the node's pods, too
            return True

        def large_enough(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            there = amounts(((new or {}).get("status") or {}).get("allocatable"))
            return there.get("pods", 0) > 0 and all(
                count <= there.get(name, 0) for name, count in pod.requests.items() if count and not self.ignored(name)
            )

        return (
            interest(PODS, DELETE, SCALED_DOWN, hint=frees),
            interest(NODES, ADD, ALLOCATABLE, hint=large_enough),
        )


def weighted(resources: Sequence[Object] | None) -> list[Weighted]:
    return [Weighted(one["name"], one.get("weight") or 1) for one in resources or DEFAULT_RESOURCES]


def points_of(strategy: Object) -> Callable[[int, int], int]:
    """Return how the strategy scores ``(used, capacity)`` of one resource."""
    if strategy.get("type") == "MostAllocated":
        return most_allocated
    if strategy.get("type") == RATIO:
        shape = strategy["requestedToCapacityRatio"]["shape"]
        return by_shape(shape_of(shape))
    return least_allocated
