"""metrics.k8s.io of a simulated node, and what pods are declared to use."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, PODS
from sampan.schema.objects import Object
from sampan.simulation import kinds
from sampan.simulation.usage import UsageError, compiled

POD_METRICS = ResourceType("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
NODE_METRICS = ResourceType("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False)


def pod(name: str, app: str, annotations: dict[str, str] | None = None, containers: int = 1) -> Object:
    metadata = {"name": name, "namespace": "default", "labels": {"app": app}, "annotations": annotations or {}}
    inner = [{"name": f"c{number}", "image": "i"} for number in range(containers)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": inner}}


def resource_usage(name: str, **spec: Any) -> Object:
    return {"apiVersion": "sim.sampan.dev/v1alpha1", "kind": "ResourceUsage", "metadata": {"name": name}, "spec": spec}


def running(pods: list[Object], count: int) -> bool:
    return sum(pod.get("status", {}).get("phase") == "Running" for pod in pods) == count


async def usages(cluster: Any, app: str) -> dict[str, list[Object]]:
    """Return pod → the usages of its containers."""
    found = await cluster.client.list(POD_METRICS, "default", label_selector=f"app={app}")
    return {item["metadata"]["name"]: [one["usage"] for one in item["containers"]] for item in found.items}


async def test_what_pods_are_declared_to_use(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.api.resource_metrics.reading.FRESH_SECONDS", 0.0)
    await cluster.until(CUSTOM_RESOURCE_DEFINITIONS, "resourceusages.sim.sampan.dev", bool, None)
    own = {"sim.sampan.dev/usage-cpu": "250m", "sim.sampan.dev/usage-memory": "10Mi"}
    for made in (pod("a", "web"), pod("b", "web", containers=2), pod("own", "web", own), pod("other", "db")):
        await cluster.client.create(PODS, made)
    await cluster.until_all(PODS, lambda pods: running(pods, 4))
    assert (await usages(cluster, "web"))["a"] == [{"cpu": "0", "memory": "0"}]

    load = resource_usage(
        "load", selector={"matchLabels": {"app": "web"}}, shared={"cpu": "4"}, usage={"memory": "5Mi"}
    )
    await cluster.client.create(kinds.RESOURCE_USAGES, load)
    await until(cluster, lambda: usages(cluster, "web"), lambda found: found["a"][0]["cpu"] == "1")
    found = await usages(cluster, "web")
    assert found["a"] == [{"cpu": "1", "memory": "5Mi"}]
    assert found["b"] == [{"cpu": "1", "memory": "5Mi"}] * 2
    assert found["own"] == [{"cpu": "250m", "memory": "10Mi"}]
    assert await usages(cluster, "db") == {"other": [{"cpu": "0", "memory": "0"}]}
    node = await cluster.client.get(NODE_METRICS, "sim")
    assert node["usage"] == {"cpu": "3250m", "memory": "25Mi"}
    assert node["window"] == "1.000s"

    await cluster.client.delete(PODS, "b", "default", grace_period_seconds=0)
    await cluster.gone(PODS, "b")
    assert (await usages(cluster, "web"))["a"] == [{"cpu": "2", "memory": "5Mi"}]


async def until(cluster: Any, ask: Any, true: Any) -> None:
    """Ask again with every change in the cluster until ``true`` holds: what is not stored cannot be watched."""
    for _ in range(200):
        if true(await ask()):
            return
        marker = {"metadata": {"annotations": {"tick": str(_)}}}
        await cluster.client.patch(PODS, "other", marker, "default")
    raise AssertionError(await ask())


async def test_names_selectors_and_errors(cluster: Any) -> None:
    await cluster.client.create(PODS, pod("a", "web"))
    await cluster.until_all(PODS, lambda pods: running(pods, 1))
    found = await cluster.client.get(POD_METRICS, "a", "default")
    assert found["metadata"]["labels"] == {"app": "web"}
    with pytest.raises(ApiError, match=r'pods.metrics.k8s.io "none" not found') as missing:
        await cluster.client.get(POD_METRICS, "none", "default")
    assert missing.value.is_not_found
    assert not (await cluster.client.list(POD_METRICS, "default", label_selector="app=db")).items
    chosen = await cluster.client.list(POD_METRICS, field_selector="metadata.name=a")
    assert [item["metadata"]["namespace"] for item in chosen.items] == ["default"]
    for query in ({"fieldSelector": "spec.nodeName=x"}, {"labelSelector": "a in"}):
        status, _ = await cluster.client.raw("GET", "/apis/metrics.k8s.io/v1beta1/pods", query=query)
        assert status == 400
    status, _ = await cluster.client.raw("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes/sim")
    assert status == 405


async def test_the_kubelets_paths_through_the_nodes_proxy(cluster: Any) -> None:
    await cluster.client.create(PODS, pod("a", "web", {"sim.sampan.dev/usage-cpu": "500m"}))
    await cluster.until_all(PODS, lambda pods: running(pods, 1))
    base = "/api/v1/nodes/sim/proxy"
    status, body = await cluster.client.raw("GET", f"{base}/stats/summary")
    summary = orjson.loads(body)
    assert status == 200
    assert summary["pods"][0]["containers"][0]["cpu"]["usageNanoCores"] == 500_000_000
    _, again = await cluster.client.raw("GET", f"{base}/stats/summary")
    spent = [orjson.loads(one)["pods"][0]["cpu"]["usageCoreNanoSeconds"] for one in (body, again)]
    assert spent[0] < spent[1]
    status, body = await cluster.client.raw("GET", f"{base}/metrics/resource")
    assert b'container_memory_working_set_bytes{container="c0",namespace="default",pod="a"} 0' in body
    assert (await cluster.client.raw("GET", f"{base}/healthz"))[1] == b"ok"
    assert (await cluster.client.raw("GET", f"{base}/nothing"))[0] == 404
    assert (await cluster.client.raw("GET", "/api/v1/nodes/none/proxy/healthz"))[0] == 404


def test_a_resource_usage_that_cannot_be_understood() -> None:
    bad = resource_usage("bad", selector={"matchExpressions": [{"key": "a", "operator": "Wrong"}]})
    with pytest.raises(UsageError, match="resource usage bad"):
        compiled(bad)
