"""Pods with devices: claims made from templates, devices given, given back, and the pod that waited gets them."""

from __future__ import annotations

from typing import Any

from sampan.client.resources import DEVICE_CLASSES, PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS, RESOURCE_SLICES
from sampan.controllers.device_taint_eviction import ends_at
from sampan.controllers.ownership import condition_of
from sampan.schema.objects import Object

DRIVER = "gpu.example.com"
API = "resource.k8s.io/v1"
REQUESTS = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}


async def a_gpu(cluster: Any) -> None:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    device_class = {
        "apiVersion": API,
        "kind": "DeviceClass",
        "metadata": {"name": "gpu"},
        "spec": {"selectors": [selector]},
    }
    await cluster.client.create(DEVICE_CLASSES, device_class)
    spec = {"driver": DRIVER, "nodeName": "sim", "pool": {"name": "sim", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "A"}}}]}  # fmt: skip
    await cluster.client.create(
        RESOURCE_SLICES, {"apiVersion": API, "kind": "ResourceSlice", "metadata": {"name": "sim"}, "spec": spec}
    )


async def a_template(cluster: Any) -> None:
    metadata = {"name": "one-gpu", "namespace": "default"}
    spec = {"metadata": {"labels": {"team": "red"}}, "spec": REQUESTS}
    made = {"apiVersion": API, "kind": "ResourceClaimTemplate", "metadata": metadata, "spec": spec}
    await cluster.client.create(RESOURCE_CLAIM_TEMPLATES, made)


def pod(name: str, **entry: str) -> Object:
    container = {"name": "c", "image": "i", "resources": {"claims": [{"name": "gpu"}]}}
    spec = {"containers": [container], "resourceClaims": [{"name": "gpu", **entry}], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def told(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")


def running(obj: Object) -> bool:
    return bool((obj.get("status") or {}).get("phase") == "Running")


async def test_claims_from_templates_are_made_allocated_and_given_to_the_next(cluster: Any) -> None:
    await a_template(cluster)
    await cluster.client.create(PODS, pod("first", resourceClaimTemplateName="one-gpu"))
    without = "0/1 nodes are available: request gpu: device class gpu does not exist."
    await cluster.until(PODS, "first", lambda p: told(p).startswith(without))
    await a_gpu(cluster)
    first = await cluster.until(PODS, "first", running)
    name = first["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
    assert name.startswith("first-gpu-")
    claim = await cluster.client.get(RESOURCE_CLAIMS, name, "default")
    assert claim["metadata"]["labels"] == {"team": "red"}
    assert claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"] == "gpu"
    (result,) = claim["status"]["allocation"]["devices"]["results"]
    assert result == {"request": "gpu", "driver": DRIVER, "pool": "sim", "device": "gpu-0"}
    assert claim["status"]["reservedFor"] == [{"resource": "pods", "name": "first", "uid": first["metadata"]["uid"]}]
    await cluster.client.create(PODS, pod("second", resourceClaimTemplateName="one-gpu"))
    await cluster.until(PODS, "second", lambda p: "cannot allocate all claims" in told(p))
    await cluster.client.delete(PODS, "first", "default")
    await cluster.until(PODS, "second", running)
    await cluster.gone(RESOURCE_CLAIMS, name)


async def test_a_claim_of_its_own_is_shared_and_freed(cluster: Any) -> None:
    await a_gpu(cluster)
    await cluster.client.create(PODS, pod("early", resourceClaimName="shared"))
    made = {
        "apiVersion": API,
        "kind": "ResourceClaim",
        "metadata": {"name": "shared", "namespace": "default"},
        "spec": REQUESTS,
    }
    await cluster.client.create(RESOURCE_CLAIMS, made)
    await cluster.until(PODS, "early", running)
    await cluster.client.create(PODS, pod("late", resourceClaimName="shared"))
    await cluster.until(PODS, "late", running)
    shared = await cluster.client.get(RESOURCE_CLAIMS, "shared", "default")
    assert {user["name"] for user in shared["status"]["reservedFor"]} == {"early", "late"}
    for name in ("early", "late"):
        await cluster.client.delete(PODS, name, "default")
    free = await cluster.until(RESOURCE_CLAIMS, "shared", lambda c: not (c.get("status") or {}).get("allocation"))
    assert not free["status"].get("reservedFor")
    await cluster.until(RESOURCE_CLAIMS, "shared", lambda c: not c["metadata"].get("finalizers"))


async def test_a_taint_ends_pods_that_have_the_device(cluster: Any) -> None:
    await a_gpu(cluster)
    there = await cluster.client.get(RESOURCE_SLICES, "sim")
    there["spec"]["devices"].append({**there["spec"]["devices"][0], "name": "gpu-1"})
    await cluster.client.update(RESOURCE_SLICES, there)
    for name, tolerations in (("plain", []), ("hardy", [{"operator": "Exists", "effect": "NoExecute"}])):
        requests = [{"name": "gpu", "exactly": {"deviceClassName": "gpu", "tolerations": tolerations}}]
        made = {"apiVersion": API, "kind": "ResourceClaim", "metadata": {"name": name, "namespace": "default"}}
        await cluster.client.create(RESOURCE_CLAIMS, {**made, "spec": {"devices": {"requests": requests}}})
        waiting = pod(name, resourceClaimName=name)
        waiting["metadata"]["finalizers"] = ["example.com/keep"]
        await cluster.client.create(PODS, waiting)
        await cluster.until(PODS, name, running)
    there = await cluster.client.get(RESOURCE_SLICES, "sim")
    for device in there["spec"]["devices"]:
        device["taints"] = [{"key": "example.com/broken", "effect": "NoExecute"}]
    there["spec"]["pool"]["generation"] = 2
    await cluster.client.update(RESOURCE_SLICES, there)
    ending = await cluster.until(PODS, "plain", lambda one: "deletionTimestamp" in one["metadata"])
    why = condition_of(ending, "DisruptionTarget")
    assert why is not None
    assert (why["reason"], why["message"]) == (
        "DeletionByDeviceTaintManager",
        "Device Taint manager: deleting due to NoExecute taint",
    )
    await cluster.event("DeviceTaintManagerEviction")
    assert "deletionTimestamp" not in (await cluster.client.get(PODS, "hardy", "default"))["metadata"]


def test_when_a_taint_ends_a_pod() -> None:
    taint = {"key": "broken", "effect": "NoExecute"}
    assert ends_at(taint, 100.0, []) == 100.0
    assert ends_at(taint, 100.0, [{"key": "other", "operator": "Exists"}]) == 100.0
    assert ends_at(taint, 100.0, [{"key": "broken", "operator": "Exists"}]) is None
    limited = [{"key": "broken", "operator": "Exists", "tolerationSeconds": 30}, {"operator": "Exists"}]
    assert ends_at(taint, 100.0, limited) == 130.0
