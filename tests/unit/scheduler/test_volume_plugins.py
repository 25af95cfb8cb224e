"""Volumes decide where pods may go: bound, found, to be made; zones, limits, one pod only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sampan.client.protocol import ResourceType
from sampan.client.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from sampan.scheduler.configuration import ConfigurationError
from sampan.scheduler.framework import UPDATE, Code
from sampan.schema.objects import Object
from tests.unit.scheduler.world import World, reserved

COMPLETED = {"pv.kubernetes.io/bind-completed": "yes"}
ZONE = "topology.kubernetes.io/zone"


def node(name: str, **labels: str) -> Object:
    status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}, "status": status}


def pod(name: str = "p", claims: tuple[str, ...] = ("c",), on: str = "", **spec: Any) -> Object:
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    body: Object = {"containers": [{"name": "c"}], "volumes": volumes, **spec, **({"nodeName": on} if on else {})}
    return {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": body}


def claim(name: str = "c", volume: str = "", size: str = "1Gi", **spec: Any) -> Object:
    body = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": "late",
        **({"volumeName": volume} if volume else {}),
        **spec,
    }
    metadata = {"name": name, "namespace": "ns", "uid": f"u-{name}", "annotations": COMPLETED if volume else {}}
    return {"metadata": metadata, "spec": body, "status": {"phase": "Bound" if volume else "Pending"}}


def volume(name: str, on: str = "", size: str = "1Gi", labels: Any = None, **spec: Any) -> Object:
    body: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "late", **spec}
    if on:
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}
        body["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": body, "status": {"phase": "Available"}}


def storage_class(
    name: str = "late", provisioner: str = "x.example", mode: str = "WaitForFirstConsumer", **more: Any
) -> Object:
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **more}


TWO = "0/2 nodes are available: 2 node(s)"
A, B = node("a", **{ZONE: "1"}), node("b", **{ZONE: "2"})


@pytest.mark.parametrize(
    ("claims", "volumes", "where"),
    [
        ([], [], '0/2 nodes are available: persistentvolumeclaim "c" not found.'),
        ([claim(volume="v")], [volume("v", "b")], "b"),
        ([claim(volume="v")], [volume("v", "z")], f"{TWO} didn't match PersistentVolume's node affinity."),
        ([claim(volume="v")], [], f"{TWO} unavailable due to one or more pvc(s) bound to non-existent pv(s)."),
        ([claim(storageClassName="")], [], "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        ([claim()], [volume("v", "b")], "a b"),
        ([claim(storageClassName="none")], [volume("v", "b", storageClassName="none")], "b"),
        ([claim(storageClassName="none")], [volume("v", "b", size="1Mi", storageClassName="none")],
         "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."),
        ([claim(storageClassName="zoned")], [], "b"),
        ([claim(volume="v")], [volume("v", labels={ZONE: "2__3"})], "b"),
        ([claim(volume="v")], [volume("v", labels={ZONE: "9"})], f"{TWO} had no available volume zone."),
    ],
)  # fmt: skip
def test_a_pod_goes_where_its_volumes_are(claims: list[Object], volumes: list[Object], where: str) -> None:
    term = {"matchLabelExpressions": [{"key": ZONE, "values": ["2"]}]}
    classes = [
        storage_class(),
        storage_class("none", "kubernetes.io/no-provisioner"),
        storage_class("zoned", allowedTopologies=[term]),
    ]
    objects = {PERSISTENT_VOLUME_CLAIMS: claims, PERSISTENT_VOLUMES: volumes, STORAGE_CLASSES: classes}
    found = World([A, B], objects=objects).goes(pod())
    assert found in where.split() if len(where) < 5 else found.startswith(where), found


def test_older_versions_say_it_in_their_words() -> None:
    objects = {PERSISTENT_VOLUME_CLAIMS: [claim(volume="v")], PERSISTENT_VOLUMES: [volume("v", "z")]}
    assert "had volume node affinity conflict" in World([A], objects=objects, version=(1, 33)).goes(pod())


def test_two_claims_get_two_volumes() -> None:
    claims = [claim("one", storageClassName="none"), claim("two", storageClassName="none")]
    volumes = [volume("v", "a", storageClassName="none"), volume("w", "b", storageClassName="none")]
    none = storage_class("none", "kubernetes.io/no-provisioner")
    objects = {PERSISTENT_VOLUME_CLAIMS: claims, PERSISTENT_VOLUMES: volumes, STORAGE_CLASSES: [none]}
    world = World([A, B], objects=objects)
    assert "didn't find available" in world.goes(pod(claims=("one", "two")))
    world.set(PERSISTENT_VOLUMES, volume("x", "b", storageClassName="none"))
    assert world.goes(pod(claims=("one", "two"))) == "b"


def test_ephemeral_volumes_wait_for_their_own_claim() -> None:
    waiting = pod(claims=())
    waiting["spec"]["volumes"] = [{"name": "e", "ephemeral": {}}]
    world = World([A])
    assert "waiting for ephemeral volume controller to create" in world.goes(waiting)
    world.set(PERSISTENT_VOLUME_CLAIMS, claim("p-e"))
    assert "was not created for pod ns/p" in world.goes(waiting)
    own = claim("p-e")
    own["metadata"]["ownerReferences"] = [{"controller": True, "uid": "p"}]
    world.set(PERSISTENT_VOLUME_CLAIMS, {**own, "metadata": {**own["metadata"], "resourceVersion": "5"}})
    assert world.goes(waiting) == "a"


def test_drivers_say_how_much_room_they_have() -> None:
    def capacity(name: str, on: str, size: str, **more: str) -> Object:
        topology = {"matchLabels": {"kubernetes.io/hostname": on}}
        metadata = {"name": name, "namespace": "kube-system"}
        return {"metadata": metadata, "storageClassName": "late", "nodeTopology": topology, "capacity": size, **more}

    driver = {"metadata": {"name": "x.example"}, "spec": {"storageCapacity": True}}
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(size="2Gi")],
        CSI_DRIVERS: [driver],
        CSI_STORAGE_CAPACITIES: [capacity("a", "a", "1Gi"), capacity("b", "b", "9Gi", maximumVolumeSize="2Gi")],
    }
    assert World([A, B], objects=objects).goes(pod()) == "b"
    objects[PERSISTENT_VOLUME_CLAIMS] = [claim(size="3Gi")]
    assert "2 node(s) did not have enough free storage" in World([A, B], objects=objects).goes(pod())


@pytest.mark.parametrize(
    ("version", "shape", "chosen"), [(37, None, {"b"}), (37, "full", {"a"}), (36, None, {"a", "b"})]
)
def test_the_roomiest_node_is_best(version: int, shape: str | None, chosen: set[str]) -> None:
    """KEP-4049: by volumes that are there, and by the room for new ones."""
    fullest = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    args = {"shape": fullest} if shape else {}
    driver = {"metadata": {"name": "x.example"}, "spec": {"storageCapacity": True}}
    none = storage_class("none", "kubernetes.io/no-provisioner")

    def capacity(on: str, size: str) -> Object:
        topology = {"matchLabels": {"kubernetes.io/hostname": on}}
        metadata = {"name": on, "namespace": "kube-system"}
        return {"metadata": metadata, "storageClassName": "late", "nodeTopology": topology, "capacity": size}

    made: dict[ResourceType, list[Object]] = {
        PERSISTENT_VOLUME_CLAIMS: [claim(size="1Gi")],
        CSI_DRIVERS: [driver],
        CSI_STORAGE_CAPACITIES: [capacity("a", "2Gi"), capacity("b", "9Gi")],
    }
    volumes = [volume("v", "a", storageClassName="none"), volume("w", "b", storageClassName="none")]
    volumes[0]["spec"]["capacity"], volumes[1]["spec"]["capacity"] = {"storage": "2Gi"}, {"storage": "9Gi"}
    found: dict[ResourceType, list[Object]] = {
        PERSISTENT_VOLUME_CLAIMS: [claim(size="1Gi", storageClassName="none")],
        PERSISTENT_VOLUMES: volumes,
        STORAGE_CLASSES: [none],
    }
    for objects in (made, found):
        world = World([A, B], objects=objects, version=(1, version), args={"VolumeBinding": args})
        assert {world.goes(pod()) for _ in range(20)} == chosen


def test_a_shape_is_for_those_who_score() -> None:
    args = {"VolumeBinding": {"shape": [{"utilization": 0, "score": 0}]}}
    with pytest.raises(ConfigurationError, match="unexpected field `shape`"):
        World([A], version=(1, 36), args=args)


def test_one_pod_means_one_pod() -> None:
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(volume="v", accessModes=["ReadWriteOncePod"])],
        PERSISTENT_VOLUMES: [volume("v")],
    }
    there = pod("other", on="a", priority=5)
    refused = World([A, B], (there,), objects).goes(pod(priority=1))
    assert (
        "2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use" in refused
    )
    assert World([A, B], (pod("other", ("d",), on="a"),), objects).goes(pod()) in ("a", "b")


def test_nodes_have_so_many_volumes_of_a_driver() -> None:
    def csi(name: str) -> Object:
        return volume(name, csi={"driver": "x.example", "volumeHandle": f"h-{name}"})

    limit = {"metadata": {"name": "a"}, "spec": {"drivers": [{"name": "x.example", "allocatable": {"count": 1}}]}}
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(volume="v"), claim("d", volume="w"), claim("e")],
        PERSISTENT_VOLUMES: [csi("v"), csi("w")],
        CSI_NODES: [limit],
    }
    there = (pod("other", ("d",), on="a"),)
    full = "0/1 nodes are available: 1 node(s) exceed max volume count."
    assert World([A], there, objects).goes(pod()).startswith(full)
    assert World([A], there, objects).goes(pod(claims=("e",))).startswith(full), "one that is to be made counts, too"
    assert World([A], there, objects).goes(pod(claims=("d",))) == "a", "it is there already"
    attached = {"metadata": {"name": "x"}, "spec": {"nodeName": "a", "source": {"persistentVolumeName": "w"}}}
    assert World([A], (), {**objects, VOLUME_ATTACHMENTS: [attached]}).goes(pod()).startswith(full)


# binding


async def test_what_is_promised_is_taken_until_it_is_given_back() -> None:
    none = storage_class("none", "kubernetes.io/no-provisioner")
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(storageClassName="none"), claim("d", storageClassName="none")],
        PERSISTENT_VOLUMES: [volume("v", "a", storageClassName="none")],
        STORAGE_CLASSES: [none],
    }
    world = World([A], objects=objects)
    state, info = await reserved(world, pod())
    assert "didn't find available" in world.goes(pod("q", ("d",)))
    world.profile.unreserve(state, info, "a")
    assert world.goes(pod("q", ("d",))) == "a"
    # who was refused because of the promise is told that it is over: no informer would tell
    (event,) = world.told
    assert event[:2] == (PERSISTENT_VOLUMES, UPDATE) and event[3] and event[3]["metadata"]["name"] == "v"


async def test_a_promise_stands_while_another_pod_relies_on_it() -> None:
    none = storage_class("none", "kubernetes.io/no-provisioner")
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(storageClassName="none"), claim("d", storageClassName="none")],
        PERSISTENT_VOLUMES: [volume("v", "a", storageClassName="none")],
        STORAGE_CLASSES: [none],
    }
    world = World([A], objects=objects)
    first, second = await reserved(world, pod("p")), await reserved(world, pod("q"))
    world.profile.unreserve(*first, "a")
    assert "didn't find available" in world.goes(pod("r", ("d",))) and not world.told
    world.profile.unreserve(*second, "a")
    assert world.goes(pod("r", ("d",))) == "a" and len(world.told) == 1


async def test_volumes_are_bound_before_the_pod_is() -> None:
    claims = [claim(), claim("d")]
    world = World([A], objects={PERSISTENT_VOLUME_CLAIMS: claims, PERSISTENT_VOLUMES: [volume("v", "a")]})
    state, info = await reserved(world, pod(claims=("c", "d")))
    binding = asyncio.create_task(world.profile.pre_bind(state, info, "a"))
    resource, found = await world.written.get()
    assert resource is PERSISTENT_VOLUMES and found["spec"]["claimRef"]["name"] == "c"
    assert found["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    resource, found = await world.written.get()
    assert resource is PERSISTENT_VOLUME_CLAIMS
    assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "a"
    world.set(PERSISTENT_VOLUME_CLAIMS, later(claim(volume="v")))
    world.set(PERSISTENT_VOLUMES, volume("w", "a"))
    await asyncio.sleep(0)
    assert not binding.done()
    world.set(PERSISTENT_VOLUME_CLAIMS, later(claim("d", volume="w")))
    assert await binding is None
    assert not len(world.binding.promised_volumes) and not len(world.binding.promised_nodes)


def later(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "9"}}


def taken_away(found: Object) -> Object:
    return {**found, "metadata": {**found["metadata"], "annotations": {}}}


def bound_elsewhere(found: Object) -> Object:
    return later(claim(volume="elsewhere"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (taken_away, "provisioning failed for PVC c"),
        (bound_elsewhere, 'pv "elsewhere" node affinity doesn\'t match node "a"'),
    ],
)
async def test_a_binding_that_goes_wrong_is_an_error(change: Callable[[Object], Object], message: str) -> None:
    world = World([A], objects={PERSISTENT_VOLUME_CLAIMS: [claim()], PERSISTENT_VOLUMES: [volume("elsewhere", "b")]})
    state, info = await reserved(world, pod())
    binding = asyncio.create_task(world.profile.pre_bind(state, info, "a"))
    _, found = await world.written.get()
    await asyncio.sleep(0)
    world.set(PERSISTENT_VOLUME_CLAIMS, change(world.informer(PERSISTENT_VOLUME_CLAIMS).get("ns/c") or found))
    status = await binding
    assert status is not None and status.code is Code.ERROR and message in status.message
