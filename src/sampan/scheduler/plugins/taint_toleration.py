"""TaintToleration: NoSchedule and NoExecute taints keep pods away, PreferNoSchedule ones cost points."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.client.resources import NODES
from sampan.scheduler.framework import (
    ADD,
    SKIP,
    TAINTS,
    CycleState,
    Interest,
    Plugin,
    Skip,
    Status,
    default_normalize,
    interest,
    unresolvable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

KEEPING_AWAY = ("NoSchedule", "NoExecute")
WITHOUT_KEYS = (1, 35)
"""Since this version reasons no longer name the taint."""


def untolerated(pod: PodInfo, taints: Sequence[Object]) -> Object | None:
    """Return the first taint that keeps the pod away."""
    for taint in taints:
        if taint["effect"] in KEEPING_AWAY and not any(tolerates(one, taint) for one in pod.tolerations):
            return taint
    return None


class TaintToleration(Plugin):
    name = "TaintToleration"
    local = True

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if not node.taints or (taint := untolerated(pod, node.taints)) is None:
            return None
        if self.handle.kubernetes_version >= WITHOUT_KEYS:
            return unresolvable("node(s) had untolerated taint(s)")
        return unresolvable(f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}")

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        soft = any(taint["effect"] == "PreferNoSchedule" for node in nodes for taint in node.taints)
        return None if soft else SKIP

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        soft = [taint for taint in node.taints if taint["effect"] == "PreferNoSchedule"]
        return sum(1 for taint in soft if not any(tolerates(one, taint) for one in pod.tolerations))

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        return default_normalize(scores, reverse=True)

    def interests(self) -> tuple[Interest, ...]:
        def tolerable(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and untolerated(pod, (new.get("spec") or {}).get("taints") or ()) is None

        return (interest(NODES, ADD, TAINTS, hint=tolerable),)
