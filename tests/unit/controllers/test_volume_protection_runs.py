"""Claims and volumes stay while somebody uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from sampan.client.resources import PERSISTENT_VOLUMES as VOLUMES
from sampan.client.resources import PODS
from sampan.client.resources import VOLUME_ATTRIBUTES_CLASSES as CLASSES
from sampan.controllers.ownership import condition_of
from sampan.controllers.volume_protection import is_over
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of

SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def is_unused(status: str) -> Callable[[Object], bool]:
    return lambda claim: (condition_of(claim, "Unused") or {}).get("status") == status


async def test_a_claim_goes_when_no_running_pod_uses_it(cluster: Any) -> None:
    metadata = {"name": "c", "namespace": "default"}
    await cluster.client.create(
        CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": SPEC}
    )
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [volume], "nodeName": "nowhere"},
    }
    await cluster.client.create(PODS, pod)
    going = await cluster.client.delete(CLAIMS, "c", "default")
    assert going["metadata"]["deletionTimestamp"]
    await cluster.client.patch(PODS, "p", {"status": {"phase": "Failed"}}, "default", subresource="status")
    await cluster.gone(CLAIMS, "c")


async def test_a_volume_goes_when_it_is_not_bound(cluster: Any) -> None:
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    await cluster.client.create(
        VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": spec}
    )
    await cluster.client.patch(VOLUMES, "v", {"status": {"phase": "Bound"}}, subresource="status")
    going = await cluster.client.delete(VOLUMES, "v")
    assert going["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    await cluster.client.patch(VOLUMES, "v", {"status": {"phase": "Released"}}, subresource="status")
    await cluster.gone(VOLUMES, "v", None)


async def test_a_bound_claim_says_since_when_no_pod_names_it(cluster: Any) -> None:
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "default"}}
    await cluster.client.create(CLAIMS, {**made, "spec": SPEC | {"storageClassName": ""}})
    suits = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    there = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": suits}
    await cluster.client.create(VOLUMES, there)
    idle = await cluster.until(CLAIMS, "c", lambda obj: condition_of(obj, "Unused"))
    told = condition_of(idle, "Unused")
    assert told is not None
    assert told.pop("lastTransitionTime") and told.pop("lastProbeTime") is None
    message = "No pods are currently referencing this PVC"
    assert told == {"type": "Unused", "status": "True", "reason": "NoPodsUsingPVC", "message": message}
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume], "nodeSelector": {"of": "nobody"}}
    await cluster.client.create(PODS, {**pod, "spec": spec})
    used = await cluster.until(CLAIMS, "c", is_unused("False"))
    told = condition_of(used, "Unused")
    assert told is not None
    assert (told["reason"], told["message"]) == ("PodUsingPVC", "A pod is currently referencing this PVC")
    await cluster.client.patch(PODS, "p", {"status": {"phase": "Failed"}}, "default", subresource="status")
    await cluster.until(CLAIMS, "c", is_unused("True"))


def test_which_pods_are_over() -> None:
    running: Object = {"containerStatuses": [{"state": {"running": {}}}]}
    ended: Object = {"containerStatuses": [{"state": {"terminated": {}}}]}
    ending: Object = {"metadata": {"deletionTimestamp": "now"}}
    assert is_over({"metadata": {}, "status": {"phase": "Succeeded"}})
    assert not is_over({"metadata": {}, "status": ended})
    assert not is_over({**ending, "status": running})
    assert is_over({**ending, "status": ended})


async def test_attributes_stay_while_a_claim_asks_for_them(cluster: Any) -> None:
    made = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": "gold"}}
    await cluster.client.create(CLASSES, {**made, "driverName": "x.example", "parameters": {"iops": "9"}})
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "default"}}
    await cluster.client.create(CLAIMS, {**claim, "spec": SPEC | {"volumeAttributesClassName": "gold"}})
    going = await cluster.client.delete(CLASSES, "gold")
    assert going["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
    await cluster.client.delete(CLAIMS, "c", "default")
    await cluster.gone(CLASSES, "gold", None)


def test_claims_of_ephemeral_volumes() -> None:
    volumes = [{"name": "e", "ephemeral": {}}, {"name": "x", "emptyDir": {}}]
    assert claims_of({"metadata": {"name": "p", "namespace": "n"}, "spec": {"volumes": volumes}}) == ["n/p-e"]
