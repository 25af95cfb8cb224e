"""Whether a new pod may run here: asked once for each, in the kubelet's order, with room made for critical ones.

First what the pod asks of the machine (security, pressure, devices, which it is given here), then room and place. A critical
pod that only lacks room displaces others (``preemption.py``) and is judged again when they have gone; so is any pod whose
place a pod has that was deleted without grace and is still being ended here. Source: the kubelet's
admit handlers (lifecycle/predicate.go, preemption, devicemanager).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sampan.client.resources import NODES
from sampan.node import preemption
from sampan.node.devices.allocation import NotEnough, NotLocal
from sampan.node.eviction_plan import is_critical, refused_under
from sampan.node.numa import AFFINITY, STRICT
from sampan.node.pod_admission import Missing, clashes, elsewhere, missing_of, untolerated, wrong_system
from sampan.node.static_pods import is_static
from sampan.schema.objects import Object
from sampan.security.refusals import Refusal, refusal

if TYPE_CHECKING:
    from sampan.node.context import NodeContext

UNEXPECTED = "UnexpectedAdmissionError"
SHUTDOWN = Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")


class Wait(Enum):
    """The pod may run when the pods that make room for it have gone."""

    FOR_ROOM = "room"


async def judge(context: NodeContext, pod: Object, *, began: bool) -> Refusal | Wait | None:
    """Return why a pod may not run here; None: it was given its share. ``began``: something of it is here already, from
    before this node came back. Raises ``ApiError``."""
    if not began and (found := _unfit(context, pod)) is not None:
        return found
    uid = pod["metadata"]["uid"]
    try:
        await context.devices.admit(uid, pod)
        context.cpus.admit(uid, pod)
        context.memory.admit(uid, pod)
    except NotEnough as error:
        context.release(uid)
        if isinstance(error, NotLocal) and context.kubelet.topology_manager_policy in STRICT:
            return AFFINITY
        return Refusal(UNEXPECTED, f"Allocate failed due to {error}, which is unexpected")
    misplaced = None if began else await _misplaced(context, pod)
    # from here on nothing is waited for: two pods cannot be given the same
    verdict = _room(context, pod, misplaced)
    if verdict is None:
        context.allocations.admit(pod)
    else:
        context.release(uid)
    return verdict


def _unfit(context: NodeContext, pod: Object) -> Refusal | None:
    if context.shutting_down:
        return SHUTDOWN
    if (found := refusal(pod["spec"], context.host, context.kubelet.allowed_unsafe_sysctls)) is not None:
        return found
    if short := refused_under(pod, context.pressures()):
        return Refusal("Evicted", short)
    return wrong_system(pod)


async def _misplaced(context: NodeContext, pod: Object) -> Refusal | None:
    node = context.node()
    if (found := elsewhere(pod, node)) is not None:  # what is known of the node may be old
        node = await context.client.get(NODES, context.node_name)
        found = elsewhere(pod, node)
    if found is None and not is_static(pod):
        found = untolerated(pod, node)
    return found


def _room(context: NodeContext, pod: Object, misplaced: Refusal | None) -> Refusal | Wait | None:
    others = [other for other in context.allocations.pods() if other["metadata"]["uid"] != pod["metadata"]["uid"]]
    allocatable = {**context.allocatable, **_patched_in(context)}
    missing = missing_of(pod, allocatable, others)
    clash = clashes(pod, others)
    if misplaced is None and (missing or clash):
        # for the scheduler those deleted without grace are gone already: it gave their place to this pod
        staying = [other for other in others if not context.is_gone(other["metadata"]["uid"])]
        if not missing_of(pod, allocatable, staying) and clashes(pod, staying) is None:
            return Wait.FOR_ROOM
    misplaced = misplaced or clash
    if missing and not is_critical(pod):
        return missing[0].refusal
    if misplaced is not None or not missing:
        return misplaced
    return _displace(context, pod, others, missing)


def _patched_in(context: NodeContext) -> dict[str, str]:
    """Return the extended resources that somebody has written into the Node, of which no plugin here tells."""
    listed = (context.node().get("status") or {}).get("allocatable") or {}
    return {name: str(value) for name, value in listed.items() if "/" in name and name not in context.devices.capacity}


def _displace(context: NodeContext, pod: Object, others: list[Object], missing: list[Missing]) -> Refusal | Wait:
    """End pods so that a critical one has room; those that are ending already count first."""
    going = [other for other in others if context.is_ending(other["metadata"]["uid"])]
    left = preemption.without({one.resource: one.lacking for one in missing}, going)
    missing = [
        one._replace(requested=left[one.resource], used=0, capacity=0) for one in missing if one.resource in left
    ]
    try:
        chosen = preemption.victims(pod, [other for other in others if other not in going], missing)
    except preemption.NoVictims as error:
        why = f"preemption: error finding a set of pods to preempt: {error}"
        return Refusal(UNEXPECTED, f"Unexpected error while attempting to recover from admission failure: {why}")
    for victim in chosen:
        context.end_pod(victim["metadata"]["uid"], preemption.REASON, preemption.MESSAGE)
    return Wait.FOR_ROOM
