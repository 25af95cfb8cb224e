"""DefaultPreemption: when no node will do, less important pods make room.

The node where least is lost is nominated for the pod; its victims get the condition ``DisruptionTarget`` and are deleted
with their grace period. The pod is tried again as they go. Sources: KEP-902 (non-preempting priorities), KEP-3329
(DisruptionTarget), KEP-4832 (what is written does not hold up the next pod), ``DefaultPreemptionArgs``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.resources import POD_DISRUPTION_BUDGETS, PODS
from sampan.scheduler.cycle import Refusal
from sampan.scheduler.framework import (
    DELETE,
    Code,
    CycleState,
    Handle,
    Interest,
    Narrow,
    NodeStatuses,
    Plugin,
    PostFilterResult,
    Status,
    interest,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.victims import Candidate, Trial, best, candidate
from sampan.schema.objects import Object

NOT_HELPFUL = unresolvable("Preemption is not helpful for scheduling")
NEVER = "not eligible due to preemptionPolicy=Never."
ENDING = "not eligible due to a terminating pod on the nominated node."
PREEMPTED = "PreemptionByScheduler"
NO_CANDIDATE = unschedulable("preemption: no candidate node for preemption")
ASKED = "DefaultPreemption"
"""Where a cycle keeps what extenders left of the candidates."""
UNDER_WAY = unresolvable("waiting for the preemption for this pod to be finished")


class DefaultPreemption(Plugin):
    name = "DefaultPreemption"
    ARGS: Mapping[str, Any] = {"minCandidateNodesPercentage": 10, "minCandidateNodesAbsolute": 100}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.budgets = handle.informer_of(POD_DISRUPTION_BUDGETS)
        self.under_way: set[str] = set()
        """Pods whose victims are being deleted, by uid."""
        self.ending: set[str] = set()
        """Victims that are being deleted and do not show it yet, by uid: nobody is taken twice."""
        handle.informer_of(PODS).add_handler(self._on_pod)
        self.attempts = 0
        self.victims: dict[int, int] = {}
        """How often how many pods were taken."""

    @classmethod
    def check(cls, args: Mapping[str, Any]) -> None:
        if not 0 <= args["minCandidateNodesPercentage"] <= 100:
            raise ValueError("minCandidateNodesPercentage: not in valid range [0, 100]")
        if args["minCandidateNodesAbsolute"] < 0:
            raise ValueError("minCandidateNodesAbsolute: not in valid range [0, inf)")
        if not args["minCandidateNodesPercentage"] and not args["minCandidateNodesAbsolute"]:
            raise ValueError("both minCandidateNodesPercentage and minCandidateNodesAbsolute cannot be zero")

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        if self.ending and (change == "DELETED" or "deletionTimestamp" in new["metadata"]):
            self.ending.discard(new["metadata"].get("uid", ""))

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        return UNDER_WAY if pod.uid in self.under_way else None

    def interests(self) -> tuple[Interest, ...]:
        return (interest(PODS, DELETE),)

    def post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses) -> PostFilterResult:
        self.attempts += 1
        why_not = self._not_eligible(pod, statuses)
        if why_not:
            return PostFilterResult(unschedulable(f"preemption: {why_not}"))
        if ASKED in state:
            answer = state[ASKED]
            if isinstance(answer, Status):
                return PostFilterResult(answer)
            found = [one for one in answer if self._is_still(one)]
            if not found:
                return PostFilterResult(NO_CANDIDATE)
        else:
            found, refused = self._candidates(state, pod, statuses)
            if not found:
                why = Refusal(len(self.handle.cluster.nodes), NodeStatuses(refused, NOT_HELPFUL))
                return PostFilterResult(unschedulable(f"preemption: {why.message}"), "")
        chosen = best(found)
        taken = len(chosen.victims)
        self.victims[taken] = self.victims.get(taken, 0) + 1
        self.under_way.add(pod.uid)
        self.ending.update(victim.uid for victim in chosen.victims if not victim.terminating)
        self.handle.start(self._make_room(pod, chosen), f"preemption-{pod.key}")
        return PostFilterResult(None, chosen.node)

    async def before_post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses, narrow: Narrow) -> None:
        """Have extenders look at the candidates, who may take some away; the world goes on meanwhile."""
        if self._not_eligible(pod, statuses):
            return
        found, _ = self._candidates(state, pod, statuses)
        if found:
            state[ASKED] = await narrow(pod, found)

    def _is_still(self, one: Candidate) -> bool:
        """Whether a candidate's victims are where they were when extenders were asked."""
        node = self.handle.cluster.nodes.get(one.node)
        return node is not None and all(node.pods.get(victim.key) is not None for victim in one.victims)

    def _not_eligible(self, pod: PodInfo, statuses: NodeStatuses) -> str:
        if pod.spec.get("preemptionPolicy") == "Never":
            return NEVER
        node = self.handle.cluster.nodes.get(self.handle.nominations.node_of(pod.key) or pod.nominated)
        if node is None or statuses.of(node.name).code is Code.UNRESOLVABLE:
            return ""  # that room is lost: look for another
        if any(one.priority < pod.priority and self._is_going(one) for one in node.pods.values()):
            return ENDING
        return ""

    def _is_going(self, victim: PodInfo) -> bool:
        """Whether a pod ends since room was to be made where it is."""
        return victim.uid in self.ending or (victim.terminating and was_preempted(victim))

    def _candidates(
        self, state: CycleState, pod: PodInfo, statuses: NodeStatuses
    ) -> tuple[list[Candidate], dict[str, Status]]:
        """Return the nodes where room can be made, and why there is none on the others that were tried."""
        nodes = [node for node in self.handle.cluster.ordered() if statuses.of(node.name).code is Code.UNSCHEDULABLE]
        budgets = self.budgets.all() if nodes else []
        found: list[Candidate] = []
        unbroken = False
        refused: dict[str, Status] = {}
        for node in self._from_anywhere(nodes):
            trial = Trial(state, pod, node, self.handle.filters, self.handle.pods_changed)
            answer = candidate(trial, budgets)
            if isinstance(answer, Status):
                refused[node.name] = answer
                continue
            found.append(answer)
            unbroken = unbroken or not answer.violations
            if unbroken and len(found) >= self._enough(len(nodes)):
                break
        return found, refused

    def _from_anywhere(self, nodes: Sequence[NodeInfo]) -> Sequence[NodeInfo]:
        """Return the nodes beginning with any: where there are many, it is not always the same that lose pods."""
        if len(nodes) <= self._enough(len(nodes)):
            return nodes
        begin = random.randrange(len(nodes))
        return [*nodes[begin:], *nodes[:begin]]

    def _enough(self, nodes: int) -> int:
        share = nodes * int(self.args["minCandidateNodesPercentage"]) // 100
        return min(nodes, max(share, int(self.args["minCandidateNodesAbsolute"])))

    # making room

    async def _make_room(self, pod: PodInfo, chosen: Candidate) -> None:
        try:
            # who was to get this room and is less important gets another chance elsewhere
            for other in list(self.handle.nominations.on(chosen.node)):
                if other.priority < pod.priority:
                    await self._withdraw(other)
            for victim in chosen.victims:
                await self._evict(pod, victim, chosen.node)
        except BaseException:
            self.ending.difference_update(victim.uid for victim in chosen.victims)
            self.under_way.discard(pod.uid)
            self.handle.later(pod.key)  # to look for room anew: at once it would only be refused again
            raise
        self.under_way.discard(pod.uid)
        self.handle.released(pod.key)

    async def _withdraw(self, other: PodInfo) -> None:
        self.handle.nominations.drop(other.key)
        patch = {"metadata": {"uid": other.uid}, "status": {"nominatedNodeName": None}}
        await self._ignoring_gone(
            self.handle.client.patch(PODS, other.name, patch, other.namespace, subresource="status")
        )

    async def _evict(self, pod: PodInfo, victim: PodInfo, node: str) -> None:
        scheduler = pod.spec.get("schedulerName") or "default-scheduler"
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": PREEMPTED,
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": timestamp(),
        }
        patch = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
        client = self.handle.client
        if victim.terminating:
            return
        there = await self._ignoring_gone(
            client.patch(PODS, victim.name, patch, victim.namespace, type="strategic", subresource="status")
        )
        if there:
            there = await self._ignoring_gone(client.delete(PODS, victim.name, victim.namespace, uid=victim.uid))
        if there:
            message = f"Preempted by pod {pod.uid} on node {node}"
            self.handle.events.normal(victim.object, "Preempted", message)

    @staticmethod
    async def _ignoring_gone(call: Any) -> bool:
        """Return whether the object was still there."""
        try:
            await call
        except ApiError as error:
            if error.is_not_found or error.is_conflict:  # a conflict: made anew under the same name
                return False
            raise
        return True


def was_preempted(pod: PodInfo) -> bool:
    """Whether a pod was told that it goes to make room."""
    conditions = (pod.object.get("status") or {}).get("conditions") or ()
    target: Object = next((one for one in conditions if one["type"] == "DisruptionTarget"), {})
    return bool(target.get("status") == "True" and target.get("reason") == PREEMPTED)
