"""kr8s, in coroutines and without."""

from typing import Any

import kr8s
import kr8s.asyncio
import pytest
from kr8s.objects import Deployment, Pod

pytestmark = pytest.mark.kubernetes("1.35")  # the newest that kr8s knows

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "labels": {"app": "p"}},
    "spec": {"containers": [{"name": "main", "image": "shop:1"}]},
}
LABELS = {"app": "web"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": POD["spec"]},
    },
}


def test_objects(cluster: Any) -> None:
    api = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    pod = Pod(POD, api=api)
    pod.create()
    pod.wait("condition=Ready", timeout=20)
    assert [found.name for found in api.get("pods", label_selector="app=p")] == ["p"]
    pod.annotate({"note": "seen"})
    pod.patch({"metadata": {"labels": {"tier": "front"}}})
    pod.refresh()
    assert pod.annotations["note"] == "seen" and pod.labels["tier"] == "front"
    pod.delete()
    pod.wait("delete", timeout=20)
    assert not pod.exists()


def test_scaling(cluster: Any) -> None:
    api = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    deployment = Deployment(DEPLOYMENT, api=api)
    deployment.create()
    deployment.wait("condition=Available", timeout=20)
    deployment.scale(3)
    deployment.wait("jsonpath='{.status.readyReplicas}'=3", timeout=20)
    assert len(deployment.pods()) == 3


async def test_watching(cluster: Any) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig))
    await cluster.apply(DEPLOYMENT)
    async for event, found in api.watch("deployments", namespace="default"):
        assert event in ("ADDED", "MODIFIED")
        if found.raw.get("status", {}).get("availableReplicas") == 1:
            break
    assert "default" in {namespace.name async for namespace in api.get("namespaces")}
