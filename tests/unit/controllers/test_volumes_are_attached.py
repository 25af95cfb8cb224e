"""Volumes of drivers that attach: attached for the pods of a node, told in its status, detached when nobody uses them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.client.resources import (
    CSI_DRIVERS,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from sampan.controllers import attach_detach
from sampan.schema.objects import Object

HANDLE = "disk-1"


async def with_volume(cluster: Any, driver: str = "disk.example", **spec: Any) -> None:
    body = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": driver, "volumeHandle": HANDLE},
        "storageClassName": "",
        **spec,
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": body}
    await cluster.client.create(PERSISTENT_VOLUMES, volume)
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "default"}}
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, {**claim, "spec": wanted})
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "c", lambda one: one["status"]["phase"] == "Bound")


async def pod(cluster: Any, name: str, on: str = "sim") -> Object:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume], "nodeName": on}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return dict(await cluster.client.create(PODS, made))


async def attachments(cluster: Any, number: int) -> list[Object]:
    async with asyncio.timeout(60):
        while True:
            found = await cluster.client.list(VOLUME_ATTACHMENTS)
            if len(found.items) == number:
                return list(found.items)
            async for _ in cluster.client.watch(VOLUME_ATTACHMENTS, resource_version=found.resource_version):
                break


async def test_a_volume_is_attached_while_a_pod_uses_it(cluster: Any) -> None:
    await with_volume(cluster)
    await pod(cluster, "p")
    (made,) = await attachments(cluster, 1)
    assert made["spec"] == {"attacher": "disk.example", "nodeName": "sim", "source": {"persistentVolumeName": "v"}}
    name = made["metadata"]["name"]
    await cluster.client.patch(VOLUME_ATTACHMENTS, name, {"status": {"attached": True}}, subresource="status")
    node = await cluster.until(NODES, "sim", lambda one: one["status"].get("volumesAttached"), None)
    unique = f"kubernetes.io/csi/disk.example^{HANDLE}"
    assert node["status"]["volumesAttached"] == [{"name": unique, "devicePath": ""}]
    await cluster.event("SuccessfulAttachVolume")
    await cluster.client.patch(NODES, "sim", {"status": {"volumesInUse": [unique]}}, subresource="status")
    await cluster.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await cluster.gone(PODS, "p")
    assert await attachments(cluster, 1), "the node still uses it"
    await cluster.client.patch(NODES, "sim", {"status": {"volumesInUse": None}}, subresource="status")
    await attachments(cluster, 0)
    await cluster.until(NODES, "sim", lambda one: not one["status"].get("volumesAttached"), None)


async def test_a_volume_for_one_node_is_not_attached_to_two(cluster: Any) -> None:
    await with_volume(cluster)
    await cluster.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}})
    await pod(cluster, "p")
    (made,) = await attachments(cluster, 1)
    failed = {"status": {"attached": False, "attachError": {"message": "no such disk"}}}
    await cluster.client.patch(VOLUME_ATTACHMENTS, made["metadata"]["name"], failed, subresource="status")
    assert "no such disk" in (await cluster.event("FailedAttachVolume"))["message"]
    await pod(cluster, "q", "other")
    events = await cluster.until_all(EVENTS, lambda all: any("Multi-Attach" in one["message"] for one in all))
    told = next(one["message"] for one in events if "Multi-Attach" in one["message"])
    assert told == 'Multi-Attach error for volume "v" Volume is already used by pod(s) p'
    assert any(one["involvedObject"]["name"] == "q" for one in events if "Multi-Attach" in one["message"])
    assert len((await cluster.client.list(VOLUME_ATTACHMENTS)).items) == 1
    # the first node lets go: whoever was refused gets it
    await cluster.client.delete(PODS, "p", "default", grace_period_seconds=0)
    async with asyncio.timeout(60):
        async for event in cluster.client.watch(
            VOLUME_ATTACHMENTS, resource_version=events[-1]["metadata"]["resourceVersion"]
        ):
            if event.type == "ADDED" and event.object["spec"]["nodeName"] == "other":
                break


@pytest.mark.parametrize("why", ["out of service", "silent for long"])
async def test_a_node_that_is_not_well_has_to_let_go(cluster: Any, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    await with_volume(cluster)
    unique = f"kubernetes.io/csi/disk.example^{HANDLE}"
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
    await cluster.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lost"}})
    status = {"status": {"conditions": [ready], "volumesInUse": [unique]}}
    await cluster.client.patch(NODES, "lost", status, subresource="status")
    await pod(cluster, "p", "lost")
    await attachments(cluster, 1)
    await cluster.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await cluster.gone(PODS, "p")
    assert await attachments(cluster, 1), "the node still uses it"
    if why == "out of service":
        taint = {"key": attach_detach.OUT_OF_SERVICE, "effect": "NoExecute", "value": "nodeshutdown"}
        await cluster.client.patch(NODES, "lost", {"spec": {"taints": [taint]}})
    else:
        monkeypatch.setattr(attach_detach, "FORCED_SECONDS", 0.05)
        silent = {"status": {"conditions": [{**ready, "status": "Unknown"}]}}
        await cluster.client.patch(NODES, "lost", silent, subresource="status")
    await attachments(cluster, 0)


async def test_attachments_of_others_are_left_alone(cluster: Any) -> None:
    for name, volume in (("va-of-somebody", "no-such-volume"), (f"csi-{'0' * 64}", "gone")):
        spec = {"attacher": "x.example", "nodeName": "sim", "source": {"persistentVolumeName": volume}}
        made = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name}, "spec": spec}
        await cluster.client.create(VOLUME_ATTACHMENTS, made)
    (left,) = await attachments(cluster, 1)
    assert left["metadata"]["name"] == "va-of-somebody"


async def test_drivers_that_attach_nothing_are_left_alone(cluster: Any) -> None:
    driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "disk.example"}}
    await cluster.client.create(CSI_DRIVERS, {**driver, "spec": {"attachRequired": False}})
    await with_volume(cluster)
    await pod(cluster, "p")
    await cluster.until(PODS, "p", lambda one: one["status"].get("phase") == "Running")
    assert not (await cluster.client.list(VOLUME_ATTACHMENTS)).items
