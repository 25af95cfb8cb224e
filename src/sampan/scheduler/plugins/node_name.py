"""NodeName: a pod that names its node goes nowhere else."""

from __future__ import annotations

from sampan.client.resources import NODES
from sampan.scheduler.framework import ADD, CycleState, Interest, Plugin, Status, interest, unresolvable
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo

ELSEWHERE = unresolvable("node(s) didn't match the requested node name")


class NodeName(Plugin):
    name = "NodeName"
    local = True

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        return None if not pod.node or pod.node == node.name else ELSEWHERE

    def interests(self) -> tuple[Interest, ...]:
        return (interest(NODES, ADD),)
