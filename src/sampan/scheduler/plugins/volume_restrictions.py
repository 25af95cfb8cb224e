"""VolumeRestrictions: a claim of mode ReadWriteOncePod is one pod's. Source: KEP-2485,
pkg/scheduler/framework/plugins/volumerestrictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PODS
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
from sampan.scheduler.plugins.pod_claims import is_its_claim
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of

ONE_POD = "ReadWriteOncePod"
TAKEN = unschedulable("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")


class Users:
    """The pods that have the waiting pod's claims, by key."""

    def __init__(self, claims: frozenset[str], pods: set[str]) -> None:
        self.claims, self.pods = claims, pods

    def clone(self) -> Users:
        return Users(self.claims, set(self.pods))


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.claims = handle.informer_of(PERSISTENT_VOLUME_CLAIMS)

    def interests(self) -> tuple[Interest, ...]:
        def frees(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            return old is not None and not set(claims_of(old)).isdisjoint(claims_of(pod.object))

        return (
            interest(PODS, DELETE, hint=frees),
            interest(PERSISTENT_VOLUME_CLAIMS, ADD, UPDATE, hint=is_its_claim),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        wanted = set()
        for key in claims_of(pod.object):
            claim = self.claims.get(key)  # one that is not there is VolumeBinding's to tell
            if claim is not None and ONE_POD in (claim["spec"].get("accessModes") or ()):
                wanted.add(key)
        if not wanted:
            return SKIP
        placed = self.handle.cluster.placed.values()
        users = {one.key for one in placed if not wanted.isdisjoint(claims_of(one.object))}
        state[self.name] = Users(frozenset(wanted), users)
        return None

    def add_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        users: Users = state[self.name]
        if not users.claims.isdisjoint(claims_of(other.object)):
            users.pods.add(other.key)
        return None

    def remove_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        users: Users = state[self.name]
        users.pods.discard(other.key)
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        users: Users = state[self.name]
        return TAKEN if users.pods else None
