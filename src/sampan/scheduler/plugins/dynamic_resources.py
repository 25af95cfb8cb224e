"""DynamicResources: a pod goes where the devices are that its ResourceClaims ask for, and gets them.

Devices are chosen in the cycle (``device_allocation.py``), noted until the claims show it, and written into the claims before
the pod is bound. Source: KEP-4381, pkg/scheduler/framework/plugins/dynamicresources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.informer import key_of
from sampan.client.resources import DEVICE_CLASSES, NODES, RESOURCE_CLAIMS, RESOURCE_SLICES
from sampan.scheduler.claim_writes import ClaimTakenError, ClaimWriter, reserved_for
from sampan.scheduler.device_allocation import Inventory, allocate, devices_of
from sampan.scheduler.devices import DeviceError, DeviceId, Pool, pools_of
from sampan.scheduler.framework import (
    ADD,
    ALLOCATABLE,
    DELETE,
    NODE_LABELS,
    SKIP,
    UPDATE,
    CycleState,
    Handle,
    Interest,
    NodeStatuses,
    Plugin,
    PostFilterResult,
    PreFilterAnswer,
    Status,
    failure,
    interest,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.node_selectors import term_matches
from sampan.schema.objects import Object
from sampan.schema.pod_references import resource_claim_names

SINCE = (1, 34)
"""Since this version resource.k8s.io/v1 is served."""
MOST_CONSUMERS = 256
ATTEMPTS = 5
NOT_TOLD_OF_CLAIMS = (1, 36)
"""Since this version a pod without claims is no longer told that there are none to deallocate."""
ELSEWHERE = unresolvable("resourceclaim not available on the node")
TOO_FEW = unresolvable("cannot allocate all claims")


@dataclass
class Wanted:
    """What one pod's claims need."""

    claims: list[Object]
    """All of them."""
    open: list[Object] = field(default_factory=list)
    """Those that have no devices yet."""
    by_node: dict[str, list[Pool]] = field(default_factory=dict)
    anywhere: list[Pool] = field(default_factory=list)
    classes: dict[str, Object] = field(default_factory=dict)
    taken: frozenset[DeviceId] = frozenset()
    found: dict[str, list[Object]] = field(default_factory=dict)
    """The allocations of the open claims, by node."""
    elsewhere: dict[str, Object] = field(default_factory=dict)
    """Claims whose devices a node could not have used, by uid."""
    begun: set[str] = field(default_factory=set)
    """Claims, by uid, that were being written: what the API has of them is not known."""
    written: list[Object] = field(default_factory=list)
    """Claims that name the pod among their users."""


class DynamicResources(Plugin):
    name = "DynamicResources"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.on = handle.kubernetes_version >= SINCE
        self.writer = ClaimWriter(handle.client)
        self._promised: dict[str, Object] = {}
        """Allocations that are being written, by the claim's uid."""
        if self.on:
            self.claims = handle.informer_of(RESOURCE_CLAIMS)
            self.slices = handle.informer_of(RESOURCE_SLICES)
            self.classes = handle.informer_of(DEVICE_CLASSES)
            self.claims.add_handler(self._on_claim)

    def _on_claim(self, change: str, old: Object | None, new: Object) -> None:
        if change == "DELETED" or (new.get("status") or {}).get("allocation"):
            self._promised.pop(new["metadata"]["uid"], None)

    def interests(self) -> Sequence[Interest]:
        if not self.on:
            return ()
        return (
            interest(RESOURCE_CLAIMS, ADD, UPDATE, DELETE, hint=matters),
            interest(RESOURCE_SLICES, ADD, UPDATE, DELETE),  # a slice that goes may leave its pool complete
            interest(DEVICE_CLASSES, ADD, UPDATE),
            interest(NODES, ADD, NODE_LABELS, ALLOCATABLE),  # devices may be on nodes by their labels
        )

    def _of(self, pod: PodInfo) -> Iterator[Object | str]:
        """Yield the pod's claims, or why one cannot be used."""
        for name, claim_name, from_template in resource_claim_names(pod.object):
            if claim_name is None:
                yield f'pod "{pod.key}": ResourceClaim not created yet'
                continue
            claim = self.claims.get(f"{pod.namespace}/{claim_name}")
            if claim is None:
                yield f'resourceclaim "{claim_name}" not found'
            elif "deletionTimestamp" in claim["metadata"]:
                yield f'resourceclaim "{claim_name}" is being deleted'
            elif from_template and not is_for(claim, pod):
                yield f'ResourceClaim "{claim_name}" was not created for pod claim "{name}" of pod "{pod.key}"'
            else:
                yield claim

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        if not self.on or not pod.spec.get("resourceClaims"):
            return None
        problem = next((one for one in self._of(pod) if isinstance(one, str)), None)
        return unresolvable(problem) if problem else None

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        if not self.on or not pod.spec.get("resourceClaims"):
            return SKIP
        claims: list[Object] = []
        for one in self._of(pod):
            if isinstance(one, str):
                return unresolvable(one)
            if one["metadata"]["uid"] in self._promised:
                # to wait is to know what it got: who relied on a promise could be left with what somebody else has by now
                return unresolvable(f"resource claim {key_of(one)} is in the process of being allocated")
            claims.append(one)
        if not claims:
            return SKIP
        wanted = Wanted(claims)
        for claim in claims:
            status = claim.get("status") or {}
            if not status.get("allocation"):
                wanted.open.append(claim)
            elif len(status.get("reservedFor") or ()) >= MOST_CONSUMERS and not reserved_for(claim, pod):
                return unresolvable("resourceclaim in use")
        if wanted.open:
            problem = self._look_around(wanted)
            if problem is not None:
                return problem
        state[self.name] = wanted
        return None

    def _look_around(self, wanted: Wanted) -> Status | None:
        """Note which devices there are and which are free; return why none can do."""
        wanted.classes = {one["metadata"]["name"]: one for one in self.classes}
        for claim in wanted.open:
            for request in claim["spec"].get("devices", {}).get("requests") or ():
                for wish in (request.get("exactly"), *(request.get("firstAvailable") or ())):
                    if wish and wish["deviceClassName"] not in wanted.classes:
                        why = f"request {request['name']}: device class {wish['deviceClassName']} does not exist"
                        return unresolvable(why)
        for pool in pools_of(self.slices):
            names = {one["spec"].get("nodeName") for one in pool.slices}
            only = names.pop() if len(names) == 1 else None
            (wanted.by_node.setdefault(only, []) if only else wanted.anywhere).append(pool)
        wanted.taken = frozenset(one for claim in self.claims for one in devices_of(self._with_promise(claim)))
        return None

    def _with_promise(self, claim: Object) -> Object:
        promised = self._promised.get(claim["metadata"]["uid"])
        if promised is None:
            return claim
        return {**claim, "status": {**(claim.get("status") or {}), "allocation": promised}}

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        wanted: Wanted = state[self.name]
        for claim in wanted.claims:
            selector = ((claim.get("status") or {}).get("allocation") or {}).get("nodeSelector")
            if selector and not any(term_matches(t, node.name, node.labels) for t in selector["nodeSelectorTerms"]):
                wanted.elsewhere[claim["metadata"]["uid"]] = claim
                return ELSEWHERE
        if not wanted.open:
            return None
        pools = [*wanted.by_node.get(node.name, ()), *wanted.anywhere]
        try:
            found = allocate(wanted.open, Inventory(pools, wanted.classes, wanted.taken), node.name, node.labels)
        except DeviceError as error:
            return unresolvable(str(error))
        if found is None:
            return TOO_FEW
        wanted.found[node.name] = found
        return None

    def post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses) -> PostFilterResult:
        """No node will do: take devices back that are elsewhere and that nobody uses but this pod."""
        wanted: Wanted | None = state.get(self.name)
        if not self.on or wanted is None:
            told = (
                self.on and self.handle.kubernetes_version < NOT_TOLD_OF_CLAIMS and not pod.spec.get("resourceClaims")
            )
            return PostFilterResult(unschedulable(*(["no new claims to deallocate"] if told else [])))
        for claim in wanted.elsewhere.values():
            users = claim["status"].get("reservedFor") or ()
            if all(one["uid"] == pod.uid for one in users):
                self.handle.start(self.writer.deallocate(claim), f"resourceclaim-{key_of(claim)}")
                return PostFilterResult(unschedulable("deallocation of ResourceClaim completed"))
        return PostFilterResult(unschedulable("still not schedulable"))

    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        wanted: Wanted | None = state.get(self.name)
        if wanted is not None:
            for claim, allocation in zip(wanted.open, wanted.found.get(node, ()), strict=False):
                self._promised[claim["metadata"]["uid"]] = allocation
        return None

    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None:
        wanted: Wanted | None = state.get(self.name)
        if wanted is None:
            return
        for claim, allocation in zip(wanted.open, wanted.found.get(node, ()), strict=False):
            uid = claim["metadata"]["uid"]
            if self._promised.get(uid) is not allocation:
                continue  # the claim itself shows it by now
            if uid in wanted.begun:
                self.handle.start(self._settle(claim, allocation), f"resourceclaim-{key_of(claim)}")
            else:
                self._free(claim, allocation)
        for claim in wanted.written:
            self.handle.start(self.writer.take_from(claim, pod), f"resourceclaim-{pod.key}")

    def _free(self, claim: Object, allocation: Object) -> None:
        """End a promise, and have pods tried that may have waited for its devices."""
        if self._promised.get(claim["metadata"]["uid"]) is allocation:
            del self._promised[claim["metadata"]["uid"]]
            held = {**claim, "status": {**(claim.get("status") or {}), "allocation": allocation}}
            self.handle.tell(RESOURCE_CLAIMS, UPDATE, held, claim)

    async def _settle(self, claim: Object, allocation: Object) -> None:
        """End a promise of which it is not known whether it was written: if it was, its devices are taken, and the promise
        stands until the informer shows that."""
        metadata = claim["metadata"]
        for attempt in range(ATTEMPTS):
            try:
                there = await self.handle.client.get(RESOURCE_CLAIMS, metadata["name"], metadata["namespace"])
            except ApiError as error:
                if error.is_not_found:
                    break
            except OSError:
                pass
            else:
                if there["metadata"]["uid"] == metadata["uid"] and (there.get("status") or {}).get("allocation"):
                    return
                break
            await asyncio.sleep(2.0**attempt)  # the API does not answer: nothing else can tell
        self._free(claim, allocation)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        wanted: Wanted | None = state.get(self.name)
        if wanted is None:
            return None
        found = zip(wanted.open, wanted.found.get(node, ()), strict=False)
        given = {claim["metadata"]["uid"]: allocation for claim, allocation in found}
        for claim in wanted.claims:
            allocation = given.get(claim["metadata"]["uid"]) or claim["status"]["allocation"]
            wanted.begun.add(claim["metadata"]["uid"])
            try:
                wanted.written.append(await self.writer.give(claim, allocation, pod))
            except ClaimTakenError as error:
                return failure(str(error))
            except (ApiError, OSError) as error:
                return failure(f"writing ResourceClaim {claim['metadata']['name']}: {error}")
        return None


def is_for(claim: Object, pod: PodInfo) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") == pod.uid for one in owners)


def matters(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Whether a claim that changed is the pod's own, or has given devices back."""
    now = set(devices_of(new)) if new is not None else set()
    if old is not None and set(devices_of(old)) - now:
        return True
    claim = new or old or {}
    names = {name for _, name, _ in resource_claim_names(pod.object)}
    return claim["metadata"]["namespace"] == pod.namespace and claim["metadata"]["name"] in names
