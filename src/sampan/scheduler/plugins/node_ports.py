"""NodePorts: a port of the node is one pod's, per address and protocol."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.client.resources import NODES, PODS
from sampan.scheduler.framework import (
    ADD,
    DELETE,
    SKIP,
    CycleState,
    Interest,
    Plugin,
    PreFilterAnswer,
    Status,
    interest,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo, host_ports
from sampan.schema.objects import Object

TAKEN = unschedulable("node(s) didn't have free ports for the requested pod ports")


class NodePorts(Plugin):
    name = "NodePorts"
    local = True

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        return None if pod.ports else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        clash = any(wanted.clashes(taken) for wanted in pod.ports for taken in node.ports)
        return TAKEN if clash else None

    def interests(self) -> tuple[Interest, ...]:
        def frees(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            freed = host_ports(old) if old is not None else []
            return any(wanted.clashes(port) for wanted in pod.ports for port in freed)

        return (interest(PODS, DELETE, hint=frees), interest(NODES, ADD))
