"""ImageLocality: better where large images of the pod are already, less so when few nodes have them: not all pods on one."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.scheduler.framework import HIGHEST_SCORE, SKIP, CycleState, Plugin, Skip
from sampan.scheduler.node_info import NodeInfo, with_tag
from sampan.scheduler.pod_info import PodInfo

MEGABYTE = 1024 * 1024
SMALL, LARGE = 23 * MEGABYTE, 1000 * MEGABYTE
"""Less than SMALL is pulled in no time; LARGE, of each container or image volume, is worth all points."""


class ImageLocality(Plugin):
    name = "ImageLocality"
    local = True

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        cluster = self.handle.cluster
        containers = (*(pod.spec.get("initContainers") or ()), *(pod.spec.get("containers") or ()))
        names = [container.get("image") or "" for container in containers]
        names += [one["image"].get("reference") or "" for one in pod.spec.get("volumes") or () if one.get("image")]
        images = [with_tag(name) for name in names]
        known = [image for image in images if image in cluster.image_nodes]
        if not known:
            return SKIP
        everywhere = len(cluster.nodes)
        spread = [(image, cluster.image_nodes[image] / everywhere) for image in known]
        state[self.name] = (spread, LARGE * len(images))
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        most: int
        spread, most = state[self.name]
        there = sum(int(node.images.get(image, 0) * share) for image, share in spread)
        return HIGHEST_SCORE * (min(max(there, SMALL), most) - SMALL) // (most - SMALL)
