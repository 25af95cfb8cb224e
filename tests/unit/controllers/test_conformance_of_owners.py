"""What Kubernetes' conformance suite asks of the garbage collector about a ReplicationController and its pods.

Source: kubernetes test/e2e/apimachinery/garbage_collector.go.
"""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import PODS, REPLICATION_CONTROLLERS
from sampan.schema.objects import Object

LABELS = {"app": "owned"}
REPLICAS = 10


def controller() -> Object:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "owner", "namespace": "default"},
        "spec": {"replicas": REPLICAS, "selector": LABELS, "template": template},
    }


@pytest.mark.parametrize("policy", ["Background", "Orphan", "Foreground"])
async def test_pods_of_a_controller_go_with_it_stay_behind_it_or_go_before_it(cluster: Any, policy: str) -> None:
    await cluster.client.create(REPLICATION_CONTROLLERS, controller())
    made = await cluster.until(
        REPLICATION_CONTROLLERS, "owner", lambda rc: rc.get("status", {}).get("replicas") == REPLICAS
    )
    pods = [pod["metadata"]["name"] for pod in (await cluster.client.list(PODS, "default")).items]
    assert len(pods) == REPLICAS
    await cluster.client.delete(REPLICATION_CONTROLLERS, "owner", "default", propagation_policy=policy)
    await cluster.gone(REPLICATION_CONTROLLERS, "owner")
    if policy == "Orphan":
        left = (await cluster.client.list(PODS, "default")).items
        assert sorted(pod["metadata"]["name"] for pod in left) == sorted(pods)
        assert not any("deletionTimestamp" in pod["metadata"] for pod in left)
        assert not any(
            owner["uid"] == made["metadata"]["uid"]
            for pod in left
            for owner in pod["metadata"].get("ownerReferences", ())
        )
        return
    if policy == "Foreground":  # nothing of it is left when it goes
        assert not (await cluster.client.list(PODS, "default")).items
    for name in pods:
        await cluster.gone(PODS, name)
