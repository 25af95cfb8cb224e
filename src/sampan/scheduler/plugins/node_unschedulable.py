"""NodeUnschedulable: cordoned nodes are for pods that tolerate the taint of that name only."""

from __future__ import annotations

from sampan.client.resources import NODES
from sampan.scheduler.framework import ADD, TAINTS, CycleState, Interest, Plugin, Status, interest, unresolvable
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

CORDONED = unresolvable("node(s) were unschedulable")
TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    local = True

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if not node.unschedulable or any(tolerates(one, TAINT) for one in pod.tolerations):
            return None
        return CORDONED

    def interests(self) -> tuple[Interest, ...]:
        def opened(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and not (new.get("spec") or {}).get("unschedulable")

        return (interest(NODES, ADD, TAINTS, hint=opened),)
