"""GangScheduling: the pods of a PodGroup with a gang policy are scheduled ``minCount`` at a time, or none of them.

What flows: pods name their PodGroup (``schedulingGroup``); they are held back until there are enough of them, then the
scheduler takes them through one cycle together (``together.py``). The PodGroup's condition says what came of it. Where the
API serves no PodGroups, pods stand alone. Source: KEP-4671, pkg/scheduler/framework/plugins/gangscheduling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sampan.client.events import timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import ResourceType
from sampan.client.resources import PODS
from sampan.scheduler.framework import CycleState, Handle, Plugin, Status, Together, unresolvable
from sampan.scheduler.pod_info import OVER, PodInfo
from sampan.schema.objects import Object

GROUP = "scheduling.k8s.io"
VERSIONS = {(1, 36): ("v1alpha2", "PodGroupScheduled"), (1, 37): ("v1beta1", "PodGroupInitiallyScheduled")}
"""Since when which version of the API is asked for, and the condition that says that the group was scheduled."""
TOO_FEW = unresolvable("waiting for minCount pods from a gang to appear in scheduling queue")


def group_of(pod: Object) -> str:
    """Return the key of the PodGroup that a pod names, empty for none."""
    name = (pod["spec"].get("schedulingGroup") or {}).get("podGroupName")
    return f"{pod['metadata'].get('namespace', '')}/{name}" if name else ""


def min_count(group: Object) -> int:
    """Return how many pods of a group are scheduled together, 0 without a gang policy."""
    gang = (group["spec"].get("schedulingPolicy") or {}).get("gang")
    return int(gang["minCount"]) if gang else 0


class GangScheduling(Plugin):
    name = "GangScheduling"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        known = [found for since, found in VERSIONS.items() if handle.kubernetes_version >= since]
        self.version, self.condition = known[-1] if known else ("", "")
        self.groups: Informer | None = None
        self.members: dict[str, set[str]] = {}
        """The pods of each group that are not over, by the group's key."""
        if known:
            handle.informer_of(PODS).add_handler(self._on_pod)

    @property
    def resource(self) -> ResourceType:
        return ResourceType(GROUP, self.version, "podgroups", "PodGroup")

    async def prepare(self) -> None:
        if not self.version:
            return
        status, body = await self.handle.client.raw("GET", f"/apis/{GROUP}/{self.version}")
        served = orjson.loads(body).get("resources") or () if status == 200 else ()
        if any(one["name"] == "podgroups" for one in served):
            self.groups = self.handle.informer_of(self.resource)
            self.groups.add_handler(self._on_group)

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        group = group_of(new)
        if not group:
            return
        key, members = key_of(new), self.members.setdefault(group, set())
        if (
            change == "DELETED"
            or "deletionTimestamp" in new["metadata"]
            or (new.get("status") or {}).get("phase") in OVER
        ):
            members.discard(key)
            if not members:
                del self.members[group]
        elif key not in members:
            members.add(key)
            self._release(group)

    def _on_group(self, change: str, old: Object | None, new: Object) -> None:
        if change != "DELETED" and (old is None or min_count(old) != min_count(new)):
            self._release(key_of(new))

    def _release(self, group: str) -> None:
        """Have the pods of a group tried that were held back, when there are enough of them."""
        found = self.groups.get(group) if self.groups is not None else None
        members = self.members.get(group, ())
        if found is not None and len(members) >= min_count(found):
            for key in list(members):
                self.handle.released(key)

    # one pod

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        key = group_of(pod.object)
        if self.groups is None or not key:
            return None
        group = self.groups.get(key)
        if group is None:
            name = key.partition("/")[2]
            return unresolvable(f'waiting for pods\'s pod group "{name}" to appear in scheduling queue')
        return TOO_FEW if len(self.members.get(key, ())) < min_count(group) else None

    def together(self, pod: PodInfo) -> Together | None:
        key = group_of(pod.object)
        group = self.groups.get(key) if self.groups is not None and key else None
        if group is None:
            return None
        placed = self.handle.cluster.placed
        waiting = tuple(one for one in self.members.get(key, ()) if one not in placed)
        needed = min_count(group) - (len(self.members.get(key, ())) - len(waiting))
        return Together(key, waiting, needed) if needed > 1 else None

    def post_bind(self, state: CycleState, pod: PodInfo, node: str) -> None:
        key = group_of(pod.object)
        group = self.groups.get(key) if self.groups is not None and key else None
        if group is None:
            return
        placed = sum(1 for one in self.members.get(key, ()) if one in self.handle.cluster.placed)
        if placed >= max(min_count(group), 1):
            self._tell(group, "True", "Scheduled", "All required pods have been successfully scheduled")

    def not_together(self, together: Together, why: str) -> None:
        group = self.groups.get(together.name) if self.groups is not None else None
        if group is not None:
            self._tell(group, "False", "Unschedulable", why)

    def _tell(self, group: Object, status: str, reason: str, message: str) -> None:
        """Set the group's condition; once it has been scheduled it stays so."""
        conditions = (group.get("status") or {}).get("conditions") or ()
        before: Object = next((one for one in conditions if one["type"] == self.condition), {})
        if before.get("status") == "True" or (before.get("status"), before.get("message")) == (status, message):
            return
        since = before["lastTransitionTime"] if before.get("status") == status else timestamp()
        told = {"type": self.condition, "status": status, "reason": reason, "message": message}
        told |= {"lastTransitionTime": since, "observedGeneration": group["metadata"].get("generation", 0)}
        self.handle.start(self._write(group, told), f"podgroup-{key_of(group)}")

    async def _write(self, group: Object, condition: Object) -> None:
        metadata = group["metadata"]
        patch: Any = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        await self.handle.client.patch(
            self.resource, metadata["name"], patch, metadata["namespace"], type="strategic", subresource="status"
        )
