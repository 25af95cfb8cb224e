"""VolumeZone: a volume labelled with a zone or region is used there. Source: scheduler framework plugins/volumezone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.scheduler.framework import (
    SKIP,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Status,
    unresolvable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.pod_claims import Storage, interests
from sampan.scheduler.pod_info import PodInfo

ZONES = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
LABELS = (*ZONES, *ZONES.values())
BETWEEN = "__"
"""Between several zones in one label."""
CONFLICT = unresolvable("node(s) had no available volume zone")


class VolumeZone(Plugin):
    name = "VolumeZone"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.storage = Storage(handle)

    def interests(self) -> tuple[Interest, ...]:
        return interests()

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        claims = self.storage.claims_of(pod)
        if isinstance(claims, Status):
            return claims
        zones: list[tuple[str, frozenset[str]]] = []
        for claim in claims:
            volume = self.storage.volume_of(claim)
            labels = (volume["metadata"].get("labels") or {}) if volume is not None else {}
            zones += [(key, frozenset(labels[key].split(BETWEEN))) for key in LABELS if key in labels]
        if not zones:
            return SKIP
        state[self.name] = zones
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if not any(key in node.labels for key in LABELS):
            return None  # a cluster without zones
        for key, values in state[self.name]:
            value = node.labels.get(key) or node.labels.get(ZONES.get(key, ""))
            if value not in values:
                return CONFLICT
        return None
