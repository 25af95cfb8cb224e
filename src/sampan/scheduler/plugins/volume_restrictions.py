"""VolumeRestrictions: a disk of a cloud that only one node can write to is one pod's on a node, and a claim of mode
ReadWriteOncePod is one pod's anywhere. Source: KEP-2485, pkg/scheduler/framework/plugins/volumerestrictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.client.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PODS
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
TAKEN = unschedulable(
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
TAKEN_BEFORE_1_33 = unschedulable(
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)
NO_DISK = unschedulable("node(s) had no available disk")
DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi")


def disks_of(pod: Object) -> list[Object]:
    """Return the volumes of a pod that are disks which two pods of a node may not both write to."""
    return [volume for volume in pod["spec"].get("volumes") or () if any(kind in volume for kind in DISKS)]


def clash(one: Object, other: Object) -> bool:
    """Whether two volumes are the same disk, and not both read only (an AWS disk is one pod's even so)."""
    for kind in DISKS:
        mine, theirs = one.get(kind), other.get(kind)
        if mine and theirs and is_same(kind, mine, theirs):
            return kind == "awsElasticBlockStore" or not (mine.get("readOnly") and theirs.get("readOnly"))
    return False


def is_same(kind: str, one: Object, other: Object) -> bool:
    if kind == "rbd":
        shared = set(one.get("monitors") or ()) & set(other.get("monitors") or ())
        return bool(shared) and all(one.get(name) == other.get(name) for name in ("pool", "image"))
    name = {"gcePersistentDisk": "pdName", "awsElasticBlockStore": "volumeID", "iscsi": "iqn"}[kind]
    return bool(one.get(name) == other.get(name))


class Users:
    """The pods that have the waiting pod's claims, by key; and its disks."""

    def __init__(self, claims: frozenset[str], pods: set[str], disks: list[Object]) -> None:
        self.claims, self.pods, self.disks = claims, pods, disks

    def clone(self) -> Users:
        return Users(self.claims, set(self.pods), self.disks)


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.claims = handle.informer_of(PERSISTENT_VOLUME_CLAIMS)
        self._taken = TAKEN if handle.kubernetes_version >= (1, 33) else TAKEN_BEFORE_1_33

    def interests(self) -> tuple[Interest, ...]:
        def frees(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            if old is None:
                return False
            shared = not set(claims_of(old)).isdisjoint(claims_of(pod.object))
            return shared or any(clash(mine, theirs) for mine in disks_of(pod.object) for theirs in disks_of(old))

        return (
            interest(PODS, DELETE, hint=frees),
            interest(NODES, ADD),
            interest(PERSISTENT_VOLUME_CLAIMS, ADD, UPDATE, hint=is_its_claim),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        wanted = set()
        for key in claims_of(pod.object):
            claim = self.claims.get(key)  # one that is not there is VolumeBinding's to tell
            if claim is not None and ONE_POD in (claim["spec"].get("accessModes") or ()):
                wanted.add(key)
        disks = disks_of(pod.object)
        if not wanted and not disks:
            return SKIP
        placed = self.handle.cluster.placed.values() if wanted else ()
        users = {one.key for one in placed if not wanted.isdisjoint(claims_of(one.object))}
        state[self.name] = Users(frozenset(wanted), users, disks)
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
        for disk in users.disks:
            if any(clash(disk, there) for other in node.pods.values() for there in disks_of(other.object)):
                return NO_DISK
        return self._taken if users.pods else None
