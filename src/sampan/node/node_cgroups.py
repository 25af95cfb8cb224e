"""The cgroups above the pods: all pods of the node, and the QoS classes. What the node keeps for itself they cannot have.

``kubepods`` has the capacity less what is reserved; ``burstable`` the CPU shares of what its pods ask for together, and
``besteffort`` the least there is. Guaranteed pods stand beside them. Source: the kubelet's node allocatable and QoS cgroups.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sampan.node import cgroup_limits, pod_cgroups
from sampan.node.cgroup_limits import Limits
from sampan.node.resources import MINIMUM_SHARES, asked_by, pods_cgroup, qos_class, shares_of
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")


class NodeCgroups:
    def __init__(self, cluster_cgroup: str) -> None:
        self._root = cluster_cgroup
        self._burstable_shares = 0

    def make(self, milli_cpu: int, memory_bytes: int) -> None:
        """Make the cgroups, with what all pods together may have."""
        for level in ("Guaranteed", "Burstable", "BestEffort"):
            pod_cgroups.create(pods_cgroup(self._root, level))
        self._write(pods_cgroup(self._root), Limits(shares_of(milli_cpu), memory=memory_bytes))
        self._write(pods_cgroup(self._root, "BestEffort"), Limits(MINIMUM_SHARES))

    def share(self, pods: Iterable[Object]) -> None:
        """Give the burstable pods the CPU shares that they ask for together."""
        asked = sum(asked_by(pod).get("cpu", 0) for pod in pods if qos_class(pod) == "Burstable")
        if shares_of(asked) != self._burstable_shares:
            self._burstable_shares = shares_of(asked)
            self._write(pods_cgroup(self._root, "Burstable"), Limits(self._burstable_shares))

    def _write(self, cgroup: str, limits: Limits) -> None:
        try:
            cgroup_limits.write(cgroup, limits)
        except OSError as error:  # pods that were there before may use more than they should; they go on
            logger.warning("limits of %s: %s", cgroup, error)
