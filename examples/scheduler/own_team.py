"""A scheduler plugin of one's own: pods go to nodes of their team, to the quietest of them first.

`sampan up --scheduler-config examples/scheduler/scheduler.yaml` uses it; `sampan scheduler check FILE` shows who is asked
when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.scheduler.framework import CycleState, Plugin, Status, default_normalize, unresolvable
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo


class OwnTeam(Plugin):
    name = "OwnTeam"
    ARGS: Mapping[str, Any] = {"label": "team"}

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        label = self.args["label"]
        if pod.labels.get(label) == node.labels.get(label):
            return None
        return unresolvable("node(s) belonged to another team")

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        return len(node.pods)

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Any, scores: list[int]) -> list[int]:
        return default_normalize(scores, reverse=True)
