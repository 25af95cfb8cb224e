"""VolumeBinding: a pod goes where its volumes are, can be found, or can be made; before it is bound its claims are.

Claims that wait for their first consumer get a volume that is there and reaches the node, or are given the node's name for
their provisioner; until all are bound the pod waits. What is promised to pods that are being bound counts as taken.
Since 1.37 nodes score by how much of the volumes that were found, or of the room for new ones, would be used.
Source: pkg/scheduler/framework/plugins/volumebinding; KEP-1472 (storage capacity), KEP-4049 (scores).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.informer import key_of
from sampan.client.resources import (
    CSI_DRIVERS,
    CSI_STORAGE_CAPACITIES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
)
from sampan.scheduler.framework import (
    SKIP,
    UPDATE,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Skip,
    Status,
    failure,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.node_volumes import ROOMIEST, NodeVolumes, in_topology, is_enough
from sampan.scheduler.plugins.pod_claims import Claims, Storage, csi_interests, interests, is_bound
from sampan.scheduler.plugins.resource_scores import by_shape, of_storage, shape_of
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.promises import Promises
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector
from sampan.schema.volume_matching import (
    NO_PROVISIONER,
    SELECTED_NODE,
    annotations_of,
    best_match,
    bound_volume,
    class_of,
    reaches,
    refers_to,
    requested,
    with_annotations,
)

UNBOUND_IMMEDIATE = unresolvable("pod has unbound immediate PersistentVolumeClaims")
NOTHING_TO_BIND = unresolvable("node(s) didn't find available persistent volumes to bind")
NO_SPACE = unresolvable("node(s) did not have enough free storage")
NO_VOLUME = unresolvable("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
SCORES_SINCE = (1, 37)
AFFINITY, AFFINITY_BEFORE_1_34 = (
    unresolvable("node(s) didn't match PersistentVolume's node affinity"),
    unresolvable("node(s) had volume node affinity conflict"),
)


@dataclass
class Wanted:
    """The state of a cycle."""

    claims: Claims
    candidates: dict[str, list[Object]]
    """The volumes that may do for each delayed claim, by its key, whatever the node: looked for once a cycle."""
    by_node: dict[str, NodeVolumes] = field(default_factory=dict)


class VolumeBinding(Plugin):
    name = "VolumeBinding"
    ARGS: Mapping[str, Any] = {"bindTimeoutSeconds": 600, "shape": ()}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.storage = Storage(handle)
        self.drivers = handle.informer_of(CSI_DRIVERS)
        self.capacities = handle.informer_of(CSI_STORAGE_CAPACITIES)
        self.nodes = handle.informer_of(NODES)
        self.promised_volumes = Promises()
        """Volumes that are being bound: name → key of the claim."""
        self.promised_nodes = Promises()
        """Claims that are being provisioned for: key → name of the node."""
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self.storage.claims.add_handler(self._on_claim)
        if args["shape"] and handle.kubernetes_version < SCORES_SINCE:
            raise ValueError("shape: Invalid value: unexpected field `shape`, which is known since 1.37")
        self._points = (
            by_shape(shape_of(args["shape"] or ROOMIEST)) if handle.kubernetes_version >= SCORES_SINCE else None
        )
        self._affinity = AFFINITY if handle.kubernetes_version >= (1, 34) else AFFINITY_BEFORE_1_34

    def interests(self) -> tuple[Interest, ...]:
        return (*interests(), *csi_interests())

    def _on_claim(self, change: str, old: Object | None, new: Object) -> None:
        for event in self._waiting.get(key_of(new), ()):
            event.set()

    # which nodes will do

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        found = self.storage.claims_of(pod)
        if isinstance(found, Status):
            return found
        if not found:
            return SKIP
        claims = self.storage.sorted(found)
        if claims.immediate:
            return UNBOUND_IMMEDIATE
        state[self.name] = Wanted(claims, {key_of(claim): self._candidates(claim) for claim in claims.delayed})
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        wanted: Wanted = state[self.name]
        for claim in wanted.claims.bound:
            volume = self.storage.volume_of(claim)
            if volume is None:
                return NO_VOLUME
            if not reaches(volume, node.object):
                return self._affinity
        found = NodeVolumes()
        status = self._find(wanted, node, found) if wanted.claims.delayed else None
        if status is None:
            wanted.by_node[node.name] = found
        return status

    def _candidates(self, claim: Object) -> list[Object]:
        name = class_of(claim)
        return [
            volume
            for volume in self.storage.volumes
            if class_of(volume) == name and (not volume["spec"].get("claimRef") or refers_to(volume, claim))
        ]

    def _find(self, wanted: Wanted, node: NodeInfo, found: NodeVolumes) -> Status | None:
        taken: list[str] = []
        for claim in sorted(wanted.claims.delayed, key=requested):
            selected = self.promised_nodes.to(key_of(claim)) or annotations_of(claim).get(SELECTED_NODE)
            if selected is not None and selected != node.name:
                return NOTHING_TO_BIND
            volume = None if selected else self._volume_for(claim, wanted.candidates[key_of(claim)], node, taken)
            if volume is not None:
                taken.append(volume["metadata"]["name"])
                found.bindings.append((claim, volume))
            else:
                room = self._room_for(claim, node)
                if isinstance(room, Status):
                    return room
                found.provisions.append((claim, room))
        return None

    def _volume_for(self, claim: Object, candidates: list[Object], node: NodeInfo, taken: list[str]) -> Object | None:
        if not candidates:
            return None
        promised = self.promised_volumes.others(key_of(claim))
        return best_match(claim, candidates, node=node.object, excluded=(*taken, *promised), delayed=True)

    def _room_for(self, claim: Object, node: NodeInfo) -> Object | Status | None:
        """Return the CSIStorageCapacity that a claim fits into (None: nobody counts), or why no volume can be provisioned."""
        storage_class = self.storage.classes.get(class_of(claim))
        if storage_class is None or storage_class.get("provisioner") in (None, "", NO_PROVISIONER):
            return NOTHING_TO_BIND
        topologies = storage_class.get("allowedTopologies") or ()
        if topologies and not any(in_topology(term, node.labels) for term in topologies):
            return NOTHING_TO_BIND
        driver = self.drivers.get(storage_class["provisioner"])
        if driver is None or not (driver.get("spec") or {}).get("storageCapacity"):
            return None
        name, size = storage_class["metadata"]["name"], requested(claim)
        for one in self.capacities:
            if (
                one.get("storageClassName") == name
                and is_enough(one, size)
                and one.get("nodeTopology") is not None
                and label_selector(one["nodeTopology"]).matches(node.labels)
            ):
                return one
        return NO_SPACE

    # which of them is best

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status | Skip | None:
        wanted: Wanted | None = state.get(self.name)
        return SKIP if self._points is None or wanted is None or not wanted.claims.delayed else None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        found: NodeVolumes | None = state[self.name].by_node.get(node.name)
        return of_storage(self._points, found.used()) if found is not None and self._points is not None else 0

    # the node is chosen

    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        wanted: Wanted | None = state.get(self.name)
        if wanted is None:
            return None
        volumes = wanted.by_node.get(node, NodeVolumes())
        for claim, volume in volumes.bindings:
            self.promised_volumes.give(volume["metadata"]["name"], key_of(claim), pod.uid)
        for claim in volumes.to_make:
            self.promised_nodes.give(key_of(claim), node, pod.uid)
        return None

    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None:
        wanted: Wanted | None = state.get(self.name)
        volumes = wanted.by_node.get(node, NodeVolumes()) if wanted is not None else NodeVolumes()
        for _, volume in volumes.bindings:
            if self.promised_volumes.take_back(volume["metadata"]["name"], pod.uid):
                self.handle.tell(PERSISTENT_VOLUMES, UPDATE, volume, volume)
        for claim in volumes.to_make:
            if self.promised_nodes.take_back(key_of(claim), pod.uid):
                self.handle.tell(PERSISTENT_VOLUME_CLAIMS, UPDATE, claim, claim)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        wanted: Wanted | None = state.get(self.name)
        if wanted is None or not wanted.claims.delayed:
            return None
        volumes, client = wanted.by_node[node], self.handle.client
        try:
            for claim, volume in volumes.bindings:
                made = bound_volume(volume, claim)
                if made is not volume:
                    await client.update(PERSISTENT_VOLUMES, made)
            for claim in volumes.to_make:
                if annotations_of(claim).get(SELECTED_NODE) != node:
                    await client.update(PERSISTENT_VOLUME_CLAIMS, with_annotations(claim, {SELECTED_NODE: node}))
            status = await self._until_bound(wanted.claims.delayed, node, volumes)
        except ApiError as error:
            return failure(f"binding volumes: {error}")
        except TimeoutError:
            return failure("binding volumes: context deadline exceeded")
        if status is None:
            self.unreserve(state, pod, node)  # what was promised is said by the objects now
        return status

    async def _until_bound(self, claims: list[Object], node: str, volumes: NodeVolumes) -> Status | None:
        """Wait until every claim is bound to a volume that reaches the node. Raises ``TimeoutError``."""
        provisioned = {key_of(claim) for claim in volumes.to_make}
        changed = asyncio.Event()
        keys = [key_of(claim) for claim in claims]
        for key in keys:
            self._waiting.setdefault(key, []).append(changed)
        seen_selected: set[str] = set()
        try:
            async with asyncio.timeout(float(self.args["bindTimeoutSeconds"])):
                while True:
                    changed.clear()
                    current = {key: self.storage.claims.get(key) for key in keys}
                    for key, claim in current.items():
                        status = self._wrong(key, claim, node, provisioned, seen_selected)
                        if status is not None:
                            return status
                    if all(claim is not None and is_bound(claim) for claim in current.values()):
                        return await self._all_reach(current.values(), node)
                    await changed.wait()
        finally:
            for key in keys:
                with contextlib.suppress(ValueError):
                    self._waiting[key].remove(changed)
                if not self._waiting[key]:
                    del self._waiting[key]

    def _wrong(
        self, key: str, claim: Object | None, node: str, provisioned: set[str], seen_selected: set[str]
    ) -> Status | None:
        """Return why a claim will not be bound: it is gone, or its provisioner asks for another node by taking the name of
        this one away."""
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            name = key.partition("/")[2]
            return unschedulable(f'persistentvolumeclaim "{name}" not found')
        if key in provisioned and not is_bound(claim):
            selected = annotations_of(claim).get(SELECTED_NODE)
            if selected == node:
                seen_selected.add(key)
            elif key in seen_selected:
                return failure(f"provisioning failed for PVC {claim['metadata']['name']}")
        return None

    async def _all_reach(self, claims: Any, node: str) -> Status | None:
        place = self.nodes.get(node)
        for claim in claims:
            name = claim["spec"]["volumeName"]
            volume = self.storage.volumes.get(name) or await self.handle.client.get(PERSISTENT_VOLUMES, name)
            if place is None or not reaches(volume, place):
                return failure(f'pv "{name}" node affinity doesn\'t match node "{node}"')
        return None
