"""NodeResourcesBalancedAllocation: better where cpu and memory are used to the same degree with the pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.scheduler.framework import SKIP, CycleState, Handle, Plugin, Skip
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.node_resources_fit import DEFAULT_RESOURCES, weighted
from sampan.scheduler.plugins.resource_scores import balance, shares
from sampan.scheduler.pod_info import PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    local = True
    ARGS: Mapping[str, Any] = {"resources": DEFAULT_RESOURCES}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.resources = weighted(args["resources"])

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        return None if any(pod.requests.values()) else SKIP  # what asks for nothing changes no balance

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        wanted, resources = pod.requests, self.resources
        return [
            balance([min(used / there, 1.0) for used, there, _ in each])
            for node in nodes
            for each in (shares(resources, wanted, node.requested, node.allocatable),)
        ]

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        return self.scores(state, pod, (node,))[0]
