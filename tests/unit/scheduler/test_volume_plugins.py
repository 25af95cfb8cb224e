"""Volumes decide where pods may go: bound, found, to be made; zones, limits, one pod only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from sampan.scheduler.cluster_state import cluster_of
from sampan.scheduler.configuration import Configuration, ProfileSpec, build
from sampan.scheduler.cycle import Cycles, Refusal
from sampan.scheduler.framework import Code, CycleState, Handle, Status
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.plugins.volume_binding import VolumeBinding
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

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


class World:
    """A cluster that is no API's, with what is in it."""

    def __init__(
        self,
        nodes: list[Object],
        there: tuple[Object, ...] = (),
        objects: dict[ResourceType, list[Object]] | None = None,
        version: tuple[int, int] = (1, 37),
    ) -> None:
        client: Any = SimpleNamespace(streams_lists=False, update=self.update)
        self.informers: dict[ResourceType, Informer] = {}
        self.client, self.written = client, asyncio.Queue[tuple[ResourceType, Object]]()
        for resource, found in {STORAGE_CLASSES: [storage_class()], NODES: nodes, **(objects or {})}.items():
            for one in found:
                self.set(resource, one)
        handle = Handle(
            client=client,
            informer_of=self.informer,
            events=EventRecorder(client, "default-scheduler"),
            cluster=cluster_of(nodes, list(there)),
            nominations=Nominations(),
            start=lambda work, name: work.close(),
            activate=lambda key: None,
            released=lambda key: None,
            kubernetes_version=version,
        )
        self.cluster = handle.cluster
        self.profile = build(ProfileSpec(), Configuration(), handle)

    async def update(self, resource: ResourceType, obj: Object) -> Object:
        self.set(resource, obj)
        self.written.put_nowait((resource, obj))
        return obj

    def informer(self, resource: ResourceType) -> Informer:
        return self.informers.setdefault(resource, Informer(self.client, resource))

    def set(self, resource: ResourceType, obj: Object) -> None:
        number = str(int(obj["metadata"].get("resourceVersion", 0)) + 1)
        self.informer(resource).take({**obj, "metadata": {**obj["metadata"], "resourceVersion": number}})

    def goes(self, waiting: Object, state: CycleState | None = None) -> str:
        found = Cycles(self.cluster).choose(self.profile, CycleState() if state is None else state, PodInfo(waiting))
        assert not isinstance(found, Status), found
        return found.message if isinstance(found, Refusal) else found.name

    @property
    def binding(self) -> VolumeBinding:
        found = self.profile.plugins["VolumeBinding"]
        assert isinstance(found, VolumeBinding)
        return found


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


def test_one_pod_means_one_pod() -> None:
    objects = {
        PERSISTENT_VOLUME_CLAIMS: [claim(volume="v", accessModes=["ReadWriteOncePod"])],
        PERSISTENT_VOLUMES: [volume("v")],
    }
    there = pod("other", on="a", priority=5)
    refused = World([A, B], (there,), objects).goes(pod(priority=1))
    assert "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode" in refused
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


async def reserved(world: World, waiting: Object) -> tuple[CycleState, PodInfo]:
    state, info = CycleState(), PodInfo(waiting)
    assert world.goes(waiting, state) == "a"
    assert world.profile.reserve(state, info, "a") is None
    return state, info


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
    assert not world.binding.promised_volumes and not world.binding.promised_nodes


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
