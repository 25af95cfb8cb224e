"""NodeVolumeLimits: no more volumes of a CSI driver on a node than it says it can have (CSINode).

Source: pkg/scheduler/framework/plugins/nodevolumelimits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sampan.client.resources import CSI_NODES, PODS, VOLUME_ATTACHMENTS
from sampan.scheduler.framework import (
    ADD,
    DELETE,
    SKIP,
    UPDATE,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Status,
    interest,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.pod_claims import Storage, interests
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of
from sampan.schema.volume_matching import class_of

EXCEEDED = unschedulable("node(s) exceed max volume count")
Handles = set[tuple[str, str]]
"""``(driver, volume)``."""


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.storage = Storage(handle)
        self.csi_nodes = handle.informer_of(CSI_NODES)
        self.attachments = handle.informer_of(VOLUME_ATTACHMENTS)

    def interests(self) -> tuple[Interest, ...]:
        return interests(interest(PODS, DELETE), interest(CSI_NODES, ADD, UPDATE), interest(VOLUME_ATTACHMENTS, DELETE))

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        wanted = set(self._volumes(pod))
        if not wanted:
            return SKIP
        state[self.name] = wanted
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        limits = limits_of(self.csi_nodes.get(node.name))
        wanted: Handles = {one for one in state[self.name] if one[0] in limits}
        if not wanted:
            return None
        there = {one for other in node.pods.values() for one in self._volumes(other)}
        there |= self._attached(node.name)
        for driver in {driver for driver, _ in wanted}:
            count = sum(1 for one in there | wanted if one[0] == driver)
            if count > limits[driver] and any(one[0] == driver for one in wanted - there):
                return EXCEEDED
        return None

    def _volumes(self, pod: PodInfo) -> Iterator[tuple[str, str]]:
        """Yield the CSI volumes of a pod; one that is yet to be made counts under its claim."""
        for key in claims_of(pod.object):
            claim = self.storage.claims.get(key)
            volume = self.storage.volume_of(claim) if claim is not None else None
            if volume is not None:
                csi = volume["spec"].get("csi")
                if csi is not None:
                    yield csi["driver"], csi["volumeHandle"]
            elif claim is not None and (found := self.storage.classes.get(class_of(claim))) is not None:
                yield found["provisioner"], f"claim {key}"

    def _attached(self, node: str) -> Handles:
        found: Handles = set()
        for attachment in self.attachments:
            spec = attachment["spec"]
            volume = self.storage.volumes.get((spec.get("source") or {}).get("persistentVolumeName") or "")
            if spec.get("nodeName") == node and volume is not None and volume["spec"].get("csi"):
                found.add((volume["spec"]["csi"]["driver"], volume["spec"]["csi"]["volumeHandle"]))
        return found


def limits_of(csi_node: Object | None) -> dict[str, int]:
    """Return how many volumes of each driver a node can have; drivers without a limit are not named."""
    found = {}
    for driver in ((csi_node or {}).get("spec") or {}).get("drivers") or ():
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None:
            found[driver["name"]] = int(count)
    return found
