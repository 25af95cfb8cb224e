"""NodeResourcesBalancedAllocation: better where cpu and memory are used to the same degree with the pod; since 1.36, where
they are more alike with it than without it. Source: pkg/scheduler/framework/plugins/noderesources, pull request 135573."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.scheduler.framework import HIGHEST_SCORE, SKIP, CycleState, Handle, Plugin, Skip
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.node_resources_fit import DEFAULT_RESOURCES, weighted
from sampan.scheduler.plugins.resource_scores import balance, counted, shares
from sampan.scheduler.pod_info import PodInfo

BY_CHANGE = (1, 36)
"""Since this version the change of the balance counts, and not what it comes to."""


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    local = True
    ARGS: Mapping[str, Any] = {"resources": DEFAULT_RESOURCES}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.resources = weighted(args["resources"])
        self._by_change = handle.kubernetes_version >= BY_CHANGE

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        return None if any(pod.requests.values()) else SKIP  # what asks for nothing changes no balance

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        wanted, resources, by_change = pod.requests, self.resources, self._by_change
        found = []
        for node in nodes:
            each = shares(resources, wanted, node.requested, node.allocatable)
            score = balance([min(used / there, 1.0) for used, there, _ in each])
            if by_change:
                # "used" has the pod in it; the same resources count without it
                names = counted(resources, wanted, node.allocatable)
                before = [
                    min(node.requested.get(name, 0) / there, 1.0)
                    for name, (_, there, _) in zip(names, each, strict=True)
                ]
                score = HIGHEST_SCORE // 2 + (HIGHEST_SCORE // 2 + score - balance(before)) // 2
            found.append(score)
        return found

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        return self.scores(state, pod, (node,))[0]
