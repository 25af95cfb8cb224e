"""What may make room for a refused pod: no event that kube-scheduler has for a plugin is missing here."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.scheduler.cluster_state import cluster_of
from sampan.scheduler.framework import Interest
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import REQUIRED, node, pod, term

UPSTREAM: dict[str, set[str]] = {
    "NodeUnschedulable": {"Node/Add", "Node/UpdateNodeTaint"},
    "NodeName": {"Node/Add"},
    "TaintToleration": {"Node/Add", "Node/UpdateNodeTaint"},
    "NodeAffinity": {"Node/Add", "Node/UpdateNodeLabel"},
    "NodePorts": {"Pod/Delete", "Node/Add"},
    "NodeResourcesFit": {"Pod/Delete", "Pod/UpdatePodScaleDown", "Node/Add", "Node/UpdateNodeAllocatable"},
    "VolumeRestrictions": {"Pod/Delete", "Node/Add", "PersistentVolumeClaim/Add", "PersistentVolumeClaim/Update"},
    "NodeVolumeLimits": {
        "CSINode/Add", "CSINode/Update", "Pod/Delete", "PersistentVolumeClaim/Add", "VolumeAttachment/Delete",
    },
    "VolumeBinding": {
        "StorageClass/Add", "StorageClass/Update", "PersistentVolumeClaim/Add", "PersistentVolumeClaim/Update",
        "PersistentVolume/Add", "PersistentVolume/Update", "Node/Add", "Node/UpdateNodeLabel", "CSINode/Add",
        "CSINode/Update", "CSIDriver/Update", "CSIStorageCapacity/Add", "CSIStorageCapacity/Update",
    },
    "VolumeZone": {
        "StorageClass/Add", "Node/Add", "Node/UpdateNodeLabel", "PersistentVolumeClaim/Add",
        "PersistentVolumeClaim/Update", "PersistentVolume/Add", "PersistentVolume/Update",
    },
    "PodTopologySpread": {
        "Pod/Add", "Pod/UpdatePodLabel", "Pod/Delete", "Node/Add", "Node/Delete", "Node/UpdateNodeLabel",
        "Node/UpdateNodeTaint",
    },
    "InterPodAffinity": {"Pod/Add", "Pod/UpdatePodLabel", "Pod/Delete", "Node/Add", "Node/UpdateNodeLabel"},
    "DynamicResources": {
        "Node/Add", "Node/UpdateNodeLabel", "Node/UpdateNodeAllocatable", "ResourceClaim/Add", "ResourceClaim/Update",
        "DeviceClass/Add", "DeviceClass/Update", "ResourceSlice/Add", "ResourceSlice/Update",
    },
    "DefaultPreemption": {"Pod/Delete"},
}  # fmt: skip
"""``EventsToRegister`` of each plugin with queueing hints on. What a pod changes of itself always brings it back here."""


def interests_of(profile_on: ProfileOn, plugin: str, *pods: Object, nodes: tuple[Object, ...] = ()) -> list[Interest]:
    return list(profile_on(cluster_of(nodes, pods)).plugins[plugin].interests())


@pytest.mark.parametrize("plugin", UPSTREAM)
def test_every_event_of_kube_scheduler_is_one_here(profile_on: ProfileOn, plugin: str) -> None:
    found = {f"{one.resource.kind}/{action}" for one in interests_of(profile_on, plugin) for action in one.actions}
    assert UPSTREAM[plugin] <= found


def test_all_plugins_that_refuse_are_in_the_list(profile_on: ProfileOn) -> None:
    profile = profile_on(cluster_of([]))
    refusing = {one.name for point in ("pre_filter", "filter") for one in profile.enabled[point]}
    assert refusing <= UPSTREAM.keys()


def woken(interests: list[Interest], kind: str, action: str, waiting: Object, old: Any, new: Any) -> bool:
    return any(
        one.hint is None or one.hint(PodInfo(waiting), old, new)
        for one in interests
        if one.resource.kind == kind and action in one.actions
    )


def away(key: str, **labels: str) -> Object:
    return {"podAntiAffinity": {REQUIRED: [term(key, **labels)]}}


def near(key: str, **labels: str) -> Object:
    return {"podAffinity": {REQUIRED: [term(key, **labels)]}}


@pytest.mark.parametrize(
    ("action", "old", "new"),
    [
        ("Add", None, node("b")),
        ("Add", None, node("b", labels={"zone": "z"})),
        ("UpdateNodeLabel", node("a", labels={"zone": "z"}), node("a")),
        ("Delete", node("a", labels={"zone": "z"}), None),
    ],
    ids=["a node outside of every zone", "a node", "a node that leaves the zone", "a node that took its pods along"],
)
def test_who_is_kept_away_by_others_may_fit_when_a_node_changes(
    profile_on: ProfileOn, action: str, old: Any, new: Any
) -> None:
    waiting = pod(labels={"app": "web"}, affinity=away("zone", app="web"))
    assert woken(interests_of(profile_on, "InterPodAffinity"), "Node", action, waiting, old, new)
    # whom those that are there keep away has no term of its own
    assert woken(interests_of(profile_on, "InterPodAffinity"), "Node", action, pod(labels={"app": "web"}), old, new)


def test_who_wants_to_be_near_others_needs_their_topology(profile_on: ProfileOn) -> None:
    interests, waiting = interests_of(profile_on, "InterPodAffinity"), pod(affinity=near("zone", app="db"))
    assert woken(interests, "Node", "Add", waiting, None, node("b", labels={"zone": "z"}))
    assert not woken(interests, "Node", "Add", waiting, None, node("b"))
