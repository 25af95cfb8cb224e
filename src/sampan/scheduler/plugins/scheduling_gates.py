"""SchedulingGates: a pod with gates is not tried until they are all gone. Source: KEP-3521."""

from __future__ import annotations

from sampan.scheduler.framework import Plugin, Status, unresolvable
from sampan.scheduler.pod_info import PodInfo


class SchedulingGates(Plugin):
    name = "SchedulingGates"

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        gates = pod.spec.get("schedulingGates")
        if not gates:
            return None
        return unresolvable(f"waiting for scheduling gates: [{' '.join(gate['name'] for gate in gates)}]")

    def interests(self) -> tuple[()]:
        return ()  # its own change brings it back
