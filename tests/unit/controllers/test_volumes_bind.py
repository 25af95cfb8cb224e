"""Claims and volumes find one another, are made, grow and go, as Kubernetes' own controllers have it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import EVENTS, NODES, PODS, STATEFUL_SETS, STORAGE_CLASSES
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from sampan.client.resources import PERSISTENT_VOLUMES as VOLUMES
from sampan.cluster.api_part import run_provisioner
from sampan.controllers.local_provisioner import FINALIZER, Folders, refusal
from sampan.controllers.volume_binding import unbound_volume
from sampan.schema.objects import Object
from sampan.schema.volume_matching import best_match, default_class, unsatisfied
from tests.unit.controllers.conftest import Cluster

NO_DELETER = 'error getting deleter volume plugin for volume "v"'


def claim(name: str, size: str = "1Gi", annotations: Any = None, **spec: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    metadata = {"name": name, "namespace": "default", **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def volume(name: str, size: str = "1Gi", labels: Any = None, **spec: Any) -> Object:
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/x"},
        "persistentVolumeReclaimPolicy": "Retain",
        **spec,
    }
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def phase(wanted: str) -> Any:
    return lambda obj: obj.get("status", {}).get("phase") == wanted


async def bound(cluster: Any, name: str) -> Object:
    return dict(await cluster.until(CLAIMS, name, phase("Bound")))


async def is_available(cluster: Any, *names: str) -> None:
    for name in names:
        await cluster.until(VOLUMES, name, phase("Available"), None)


async def test_a_claim_takes_the_smallest_volume_that_suits_and_releases_it(cluster: Any) -> None:
    for one in (volume("large", "5Gi"), volume("fits", "2Gi"), volume("small", "500Mi"), volume("other", "2Gi",
                storageClassName="x")):  # fmt: skip
        await cluster.client.create(VOLUMES, one)
    await is_available(cluster, "large", "fits", "small", "other")
    await cluster.client.create(CLAIMS, claim("c", storageClassName=""))
    got = await bound(cluster, "c")
    assert got["spec"]["volumeName"] == "fits"
    assert got["status"]["capacity"] == {"storage": "2Gi"} and got["status"]["accessModes"] == ["ReadWriteOnce"]
    assert got["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    fits = await cluster.until(VOLUMES, "fits", phase("Bound"), None)
    assert fits["spec"]["claimRef"]["uid"] == got["metadata"]["uid"]
    assert fits["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    assert fits["status"]["lastPhaseTransitionTime"]
    await cluster.client.delete(CLAIMS, "c", "default")
    await cluster.until(VOLUMES, "fits", phase("Released"), None)
    # who takes the claimRef away makes it available again
    await cluster.client.patch(VOLUMES, "fits", {"spec": {"claimRef": None}})
    await is_available(cluster, "fits")


async def test_claims_wait_until_a_volume_or_a_default_class_comes(cluster: Any) -> None:
    await cluster.client.create(CLAIMS, claim("waits", storageClassName="slow"))
    event = await cluster.event("ProvisioningFailed")
    assert event["message"] == 'storageclass.storage.k8s.io "slow" not found'
    await cluster.client.create(VOLUMES, volume("slow-one", storageClassName="slow"))
    assert (await bound(cluster, "waits"))["spec"]["volumeName"] == "slow-one"
    unset = {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "false"}}}
    await cluster.until(STORAGE_CLASSES, "standard", lambda one: True, None)
    await cluster.client.patch(STORAGE_CLASSES, "standard", unset)
    await cluster.client.create(CLAIMS, claim("plain"))
    event = await cluster.event("FailedBinding")
    assert event["message"] == "no persistent volumes available for this claim and no storage class is set"
    unset["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] = "true"
    await cluster.client.patch(STORAGE_CLASSES, "standard", unset)
    later = await cluster.until(CLAIMS, "plain", lambda one: one["spec"].get("storageClassName"))
    assert later["spec"]["storageClassName"] == "standard"
    event = await cluster.event("WaitForFirstConsumer")
    assert event["message"] == "waiting for first consumer to be created before binding"


async def test_a_claim_names_its_volume_and_a_volume_its_claim(cluster: Any) -> None:
    await cluster.client.create(VOLUMES, volume("tiny", "1Mi"))
    await cluster.client.create(VOLUMES, volume("kept", claimRef={"namespace": "default", "name": "mine"}))
    await is_available(cluster, "tiny", "kept")
    await cluster.client.create(CLAIMS, claim("too-large", volumeName="tiny", storageClassName=""))
    event = await cluster.event("VolumeMismatch")
    assert event["message"] == 'Cannot bind to requested volume "tiny": requested PV is too small'
    await cluster.client.create(CLAIMS, claim("thief", volumeName="kept", storageClassName=""))
    event = await cluster.event("FailedBinding")
    assert event["message"] == 'volume "kept" already bound to a different claim.'
    await cluster.client.create(CLAIMS, claim("mine", storageClassName=""))
    assert (await bound(cluster, "mine"))["spec"]["volumeName"] == "kept"
    kept = await cluster.until(VOLUMES, "kept", phase("Bound"), None)
    assert "pv.kubernetes.io/bound-by-controller" not in (kept["metadata"].get("annotations") or {})


async def test_a_claim_whose_volume_vanished_is_lost(cluster: Any) -> None:
    await cluster.client.create(VOLUMES, volume("gone"))
    await cluster.client.create(CLAIMS, claim("loser", storageClassName="", volumeName="gone"))
    await bound(cluster, "loser")
    await cluster.client.patch(VOLUMES, "gone", {"metadata": {"finalizers": None}})
    await cluster.client.delete(VOLUMES, "gone")
    lost = await cluster.until(CLAIMS, "loser", phase("Lost"))
    assert "capacity" not in lost["status"]
    event = await cluster.event("ClaimLost")
    assert event["message"] == "Bound claim has lost its PersistentVolume. Data on the volume is lost!"


@pytest.mark.parametrize(
    ("policy", "reason", "message"),
    [
        ("Recycle", "VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        ("Delete", "VolumeFailedDelete", f"{NO_DELETER}: no deletable volume plugin matched"),
    ],
)  # fmt: skip
async def test_what_nobody_can_reclaim_fails_and_says_why(cluster: Any, policy: str, reason: str, message: str) -> None:
    await cluster.client.create(VOLUMES, volume("v", persistentVolumeReclaimPolicy=policy))
    await cluster.client.create(CLAIMS, claim("c", storageClassName=""))
    await bound(cluster, "c")
    await cluster.client.delete(CLAIMS, "c", "default")
    failed = await cluster.until(VOLUMES, "v", phase("Failed"), None)
    assert failed["status"]["message"] == message
    assert (await cluster.event(reason))["message"] == message


async def test_volumes_are_made_at_once_grow_and_go_with_their_claim(cluster: Any) -> None:
    at_once = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "at-once"},
        "provisioner": "sampan.dev/local",
        "allowVolumeExpansion": True,
    }
    await cluster.client.create(STORAGE_CLASSES, at_once)
    await cluster.client.create(CLAIMS, claim("c", storageClassName="at-once"))
    got = await bound(cluster, "c")
    made = await cluster.client.get(VOLUMES, got["spec"]["volumeName"])
    assert made["metadata"]["name"] == f"pvc-{got['metadata']['uid']}"
    assert made["metadata"]["annotations"] == {"pv.kubernetes.io/provisioned-by": "sampan.dev/local"}
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["sim"]
    assert got["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] == "sampan.dev/local"
    await cluster.client.patch(CLAIMS, "c", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}, "default")
    grown = await cluster.until(CLAIMS, "c", lambda one: one["status"]["capacity"] == {"storage": "3Gi"})
    assert grown["status"]["allocatedResources"] == {"storage": "3Gi"}
    assert {one["type"] for one in grown["status"].get("conditions") or ()} <= {"Unused"}
    assert not grown["status"].get("allocatedResourceStatuses")
    assert (await cluster.client.get(VOLUMES, made["metadata"]["name"]))["spec"]["capacity"] == {"storage": "3Gi"}
    await cluster.event("VolumeResizeSuccessful")
    await cluster.client.delete(CLAIMS, "c", "default")
    await cluster.gone(VOLUMES, made["metadata"]["name"], None)


async def test_a_stateful_set_has_a_volume_for_each_pod_and_finds_it_again(cluster: Any) -> None:
    labels = {"app": "db"}
    template = {"metadata": {"name": "data"}, "spec": claim("x")["spec"]}
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "volumeClaimTemplates": [template],
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": spec,
    }
    await cluster.client.create(STATEFUL_SETS, made)
    await cluster.until(STATEFUL_SETS, "db", lambda one: one["status"].get("readyReplicas") == 2)
    before = await bound(cluster, "data-db-0")
    assert before["spec"]["storageClassName"] == "standard"
    assert before["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "sim"
    old = await cluster.client.get(PODS, "db-0", "default")
    await cluster.client.delete(PODS, "db-0", "default", grace_period_seconds=0)
    ready = lambda pod: pod["metadata"]["uid"] != old["metadata"]["uid"] and phase("Running")(pod)  # noqa: E731
    await cluster.until(PODS, "db-0", ready)
    assert (await bound(cluster, "data-db-0"))["spec"]["volumeName"] == before["spec"]["volumeName"]


async def test_what_others_provision_is_left_to_them(cluster: Any) -> None:
    foreign = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "foreign"},
        "provisioner": "example.com/disk",
        "allowVolumeExpansion": True,
    }
    await cluster.client.create(STORAGE_CLASSES, foreign)
    made = await cluster.client.create(CLAIMS, claim("c", storageClassName="foreign"))
    event = await cluster.event("ExternalProvisioning")
    assert "external provisioner 'example.com/disk'" in event["message"]
    reference = {"namespace": "default", "name": "c", "uid": made["metadata"]["uid"], "kind": "PersistentVolumeClaim"}
    theirs = volume("theirs", storageClassName="foreign", claimRef=reference)
    theirs["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": "example.com/disk"}
    theirs["spec"]["persistentVolumeReclaimPolicy"] = "Delete"
    await cluster.client.create(VOLUMES, theirs)
    await bound(cluster, "c")
    await cluster.client.patch(CLAIMS, "c", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}, "default")
    assert (await cluster.event("ExternalExpanding"))["type"] == "Normal"
    await cluster.client.delete(CLAIMS, "c", "default")
    await cluster.until(VOLUMES, "theirs", phase("Released"), None)


async def test_ephemeral_volumes_have_claims_that_go_with_their_pod(cluster: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim("x", storageClassName="none")["spec"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}],
            "schedulerName": "nobody",
        },
    }
    await cluster.client.create(CLAIMS, claim("q-scratch"))
    made = await cluster.client.create(PODS, pod)
    own = await cluster.until(CLAIMS, "p-scratch", lambda one: True)
    assert own["metadata"]["labels"] == {"a": "b"}
    assert own["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    await cluster.client.create(PODS, {**pod, "metadata": {"name": "q", "namespace": "default"}})
    events = await cluster.until_all(
        EVENTS, lambda all: any("was not created for the pod" in e["message"] for e in all)
    )
    assert any(event["involvedObject"]["name"] == "q" for event in events)
    await cluster.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await cluster.gone(CLAIMS, "p-scratch")


# pure rules


def stored(obj: Object, **status: Any) -> Object:
    return {**obj, "metadata": {"uid": f"uid-{obj['metadata']['name']}", **obj["metadata"]}, "status": status}


def test_matching_heeds_modes_selectors_classes_and_nodes() -> None:
    wanted = stored(claim("c", selector={"matchLabels": {"disk": "fast"}}))
    there = [
        stored(
            volume("many", labels={"disk": "fast"}, accessModes=["ReadWriteOnce", "ReadOnlyMany"]), phase="Available"
        ),
        stored(volume("few", "9Gi", labels={"disk": "fast"}), phase="Available"),
        stored(volume("slow", labels={"disk": "slow"}), phase="Available"),
        stored(volume("block", labels={"disk": "fast"}, volumeMode="Block"), phase="Available"),
        stored(volume("released", labels={"disk": "fast"}), phase="Released"),
    ]
    assert best_match(wanted, there) is there[1]  # fewer modes go before less room
    assert best_match(wanted, there, excluded=["few"]) is there[0]
    assert best_match(wanted, there, delayed=True) is None
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    there[1]["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    node = {"metadata": {"name": "n", "labels": {"zone": "b"}}}
    assert best_match(wanted, there, node=node, delayed=True) is there[0]
    node["metadata"]["labels"]["zone"] = "a"
    assert best_match(wanted, there, node=node, delayed=True) is there[1]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"capacity": {"storage": "1Mi"}}, "requested PV is too small"),
        ({"storageClassName": "x"}, "storageClassName does not match"),
        ({"volumeAttributesClassName": "x"}, "volumeAttributesClassName does not match"),
        ({"volumeMode": "Block"}, "incompatible volumeMode"),
        ({"accessModes": ["ReadOnlyMany"]}, "incompatible accessMode"),
        ({}, ""),
    ],
)
def test_why_a_named_volume_does_not_do(spec: Object, why: str) -> None:
    assert unsatisfied(stored(volume("v", **spec)), stored(claim("c"))) == why


def test_who_pre_bound_a_volume_keeps_the_name() -> None:
    reference = {"namespace": "n", "name": "c", "uid": "u"}
    assert unbound_volume(volume("v", claimRef=reference))["spec"]["claimRef"] == {"namespace": "n", "name": "c"}
    ours = volume("v", claimRef=reference)
    ours["metadata"]["annotations"] = {"pv.kubernetes.io/bound-by-controller": "yes"}
    free = unbound_volume(ours)
    assert "claimRef" not in free["spec"] and "annotations" not in free["metadata"]


def test_of_several_default_classes_the_newest_counts() -> None:
    def made(name: str, at: str) -> Object:
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
        return {"metadata": {"name": name, "creationTimestamp": at, "annotations": annotations}}

    old, new, twin = (
        made("a", "2026-01-01T00:00:00Z"),
        made("c", "2026-02-01T00:00:00Z"),
        made("b", "2026-02-01T00:00:00Z"),
    )
    assert default_class([old, new, twin]) is twin
    assert default_class([]) is None


def test_folders_are_made_and_removed_below_their_root_only(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "volumes")
    folder, disk = folders.path("one"), folders.path("disk")
    folders.make(folder, None)
    assert folder.stat().st_mode & 0o777 == 0o777
    folders.make(disk, 1 << 20)
    folders.grow(disk, 1 << 10)  # never smaller
    assert disk.stat().st_size == 1 << 20
    outside = tmp_path / "precious"
    outside.mkdir()
    for path in (folder, disk, outside):
        folders.remove(path)
    assert not folder.exists() and not disk.exists() and outside.exists()


async def test_the_provisioner_of_a_machine_makes_and_removes_its_own_folders(local_api: Api, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    for name in ("pvc-gone_default_x", "pvc-full_default_x"):
        (root / name).mkdir(parents=True)
    (root / "pvc-full_default_x" / "data").touch()
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))
    at_once = {"metadata": {"name": "at-once"}, "provisioner": "sampan.dev/local"}
    await client.create(STORAGE_CLASSES, {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **at_once})
    for name in ("mine", "other"):
        await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    task = asyncio.create_task(run_provisioner(local_api, root, "mine"))
    asked = {"volume.kubernetes.io/storage-provisioner": "sampan.dev/local"}
    cluster = Cluster(client, task)
    late = {**asked, "volume.kubernetes.io/selected-node": "other"}
    await client.create(CLAIMS, claim("elsewhere", annotations=late, storageClassName="at-once"))
    made = await client.create(CLAIMS, claim("here", annotations=asked, storageClassName="at-once"))
    name = f"pvc-{made['metadata']['uid']}"
    found = await cluster.until(VOLUMES, name, lambda one: True, None)
    folder = root / f"{name}_default_here"
    assert found["spec"]["local"]["path"] == str(folder) and folder.is_dir()
    assert sorted(entry.name for entry in root.iterdir()) == sorted(["pvc-full_default_x", folder.name])
    (folder / "data").write_text("x")
    await client.patch(VOLUMES, name, {"metadata": {"finalizers": [FINALIZER]}})
    await client.patch(VOLUMES, name, {"status": {"phase": "Released"}}, subresource="status")
    await cluster.gone(VOLUMES, name, None)
    assert not folder.exists()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_life_of_a_volume_and_a_claim_in_the_api(cluster: Any) -> None:
    """Conformance: PersistentVolumes CSI Conformance (lifecycle, changes of the status)."""
    made = volume("pv", labels={"e2e": "x"}, storageClassName="manual")
    made["spec"]["hostPath"] = {"path": "/tmp"}
    await cluster.client.create(VOLUMES, made)
    await cluster.client.create(CLAIMS, claim("pvc", storageClassName="none"))
    assert [one["metadata"]["name"] for one in (await cluster.client.list(VOLUMES, label_selector="e2e=x")).items] == [
        "pv"
    ]
    assert (await cluster.client.get(CLAIMS, "pvc", "default"))["status"]["phase"] == "Pending"
    told = {"conditions": [{"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set by e2e"}]}
    patched = await cluster.client.patch(CLAIMS, "pvc", {"status": told}, "default", subresource="status")
    assert patched["status"]["conditions"][0]["type"] == "StatusPatched"
    await is_available(cluster, "pv")
    said = {"status": {"reason": "E2E patch", "message": "why"}}
    patched = await cluster.client.patch(VOLUMES, "pv", said, subresource="status")
    assert patched["status"]["message"] == "why"
    for resource, name, namespace in ((VOLUMES, "pv", None), (CLAIMS, "pvc", "default")):
        labelled = await cluster.client.patch(resource, name, {"metadata": {"labels": {"name": "patched"}}}, namespace)
        assert labelled["metadata"]["labels"]["name"] == "patched"
        path = resource.path(namespace)
        status, _ = await cluster.client.raw("DELETE", path, query={"labelSelector": "name=patched"})
        assert status == 200
        await cluster.gone(resource, name, namespace)


def test_what_is_not_provisioned() -> None:
    assert refusal(claim("c"), {}) == ""
    assert refusal(claim("c", selector={"matchLabels": {}}), {}) == "claim Selector is not supported"
    assert "knows no VolumeAttributesClasses" in refusal(claim("c", volumeAttributesClassName="fast"), {})
    assert "dataSource" in refusal(claim("c", dataSource={"kind": "PersistentVolumeClaim", "name": "x"}), {})
    assert refusal(claim("c"), {"parameters": {"fsType": "ext4"}}) == ""
    assert "btrfs is none of ext4, xfs" in refusal(claim("c"), {"parameters": {"fsType": "btrfs"}})
    assert 'invalid parameter "quota"' in refusal(claim("c"), {"parameters": {"quota": "on"}})
