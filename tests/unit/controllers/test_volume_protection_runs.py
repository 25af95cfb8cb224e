"""Claims and volumes stay while somebody uses them."""

from __future__ import annotations

from typing import Any

from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from sampan.client.resources import PERSISTENT_VOLUMES as VOLUMES
from sampan.client.resources import PODS
from sampan.schema.pod_references import claims_of

SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


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


def test_claims_of_ephemeral_volumes() -> None:
    volumes = [{"name": "e", "ephemeral": {}}, {"name": "x", "emptyDir": {}}]
    assert claims_of({"metadata": {"name": "p", "namespace": "n"}, "spec": {"volumes": volumes}}) == ["n/p-e"]
