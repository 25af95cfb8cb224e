"""HorizontalPodAutoscalers on the real in-process API: simulated pods, and what they are declared to use."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.protocol import ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, EVENTS, PODS
from sampan.controllers.horizontal_pod_autoscaler import HORIZONTAL_POD_AUTOSCALERS as AUTOSCALERS
from sampan.schema.objects import Object
from sampan.simulation.kinds import RESOURCE_USAGES

AT_ONCE = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 900, "periodSeconds": 15}]}
BEHAVIOR = {
    "scaleUp": AT_ONCE,
    "scaleDown": {**AT_ONCE, "policies": [{"type": "Pods", "value": 50, "periodSeconds": 15}]},
}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


@pytest.fixture(autouse=True)
def no_old_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.api.resource_metrics.reading.FRESH_SECONDS", 0.0)


def autoscaler(name: str, target: str = "web", kind: str = "Deployment", **spec: Any) -> Object:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": target}
    given = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 20, "behavior": BEHAVIOR, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": given}


def usage(cpu: str) -> Object:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "shared": {"cpu": cpu}}
    return {
        "apiVersion": "sim.sampan.dev/v1alpha1",
        "kind": "ResourceUsage",
        "metadata": {"name": "load"},
        "spec": spec,
    }


async def web(cluster: Any, replicas: int = 2, request: str = "500m") -> None:
    resources = {"requests": {"cpu": request}} if request else {}
    container = {"name": "c", "image": "one", "resources": resources}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    await cluster.deploy("web", replicas, template=template)
    await cluster.rolled_out("web")


async def declare(cluster: Any, cpu: str) -> None:
    await cluster.until(CUSTOM_RESOURCE_DEFINITIONS, "resourceusages.sim.sampan.dev", bool, None)
    await cluster.client.create(RESOURCE_USAGES, usage(cpu))


def condition(obj: Object, type: str) -> tuple[str, str]:
    found = next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == type), {})
    return found.get("status", ""), found.get("reason", "")


async def test_a_load_is_shared_by_as_many_pods_as_it_takes(cluster: Any) -> None:
    await declare(cluster, "2")
    await web(cluster)
    await cluster.client.create(AUTOSCALERS, autoscaler("web", metrics=[CPU]))
    grown = await cluster.until(AUTOSCALERS, "web", lambda obj: obj.get("status", {}).get("desiredReplicas") == 8)
    assert grown["status"]["currentMetrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 200, "averageValue": "1"}}}
    ]
    assert condition(grown, "AbleToScale") == ("True", "SucceededRescale")
    assert condition(grown, "ScalingActive") == ("True", "ValidMetricFound")
    assert condition(grown, "ScalingLimited") == ("False", "DesiredWithinRange")
    assert grown["status"]["lastScaleTime"]
    assert grown["metadata"]["generation"] == grown["status"]["observedGeneration"] == 1
    told = await cluster.event("SuccessfulRescale")
    assert told["message"] == "New size: 8; reason: cpu resource utilization (percentage of request) above target"
    await cluster.rolled_out("web")
    await cluster.client.patch(RESOURCE_USAGES, "load", {"spec": {"shared": {"cpu": "500m"}}})
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 2)
    v1 = ResourceType("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
    old = await cluster.client.get(v1, "web", "default")
    assert old["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_bounds_count_without_any_metric(cluster: Any) -> None:
    await web(cluster, 2, request="")
    await cluster.client.create(AUTOSCALERS, autoscaler("web", minReplicas=4, metrics=[CPU]))
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 4)
    event = await cluster.event("SuccessfulRescale")
    assert event["message"] == "New size: 4; reason: Current number of replicas below Spec.MinReplicas"
    await cluster.rolled_out("web")
    lost = await cluster.until(AUTOSCALERS, "web", lambda obj: condition(obj, "ScalingActive")[0] == "False")
    assert condition(lost, "ScalingActive") == ("False", "FailedGetResourceMetric")
    message = next(c["message"] for c in lost["status"]["conditions"] if c["type"] == "ScalingActive")
    assert message.startswith(
        "the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in "
        "container c of Pod web-"
    )
    await cluster.event("FailedComputeMetricsReplicas")
    await cluster.client.patch(AUTOSCALERS, "web", {"spec": {"minReplicas": 1, "maxReplicas": 3}}, "default")
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 3)


async def test_a_target_that_is_not_there_and_one_at_zero(cluster: Any) -> None:
    await cluster.client.create(AUTOSCALERS, autoscaler("web", "none", metrics=[CPU]))
    lost = await cluster.until(AUTOSCALERS, "web", lambda obj: condition(obj, "AbleToScale")[0] == "False")
    assert condition(lost, "AbleToScale") == ("False", "FailedGetScale")
    assert (await cluster.event("FailedGetScale"))["message"] == 'deployments.apps "none" not found'
    await cluster.deploy("zero", 0)
    await cluster.client.create(AUTOSCALERS, autoscaler("zero", "zero", metrics=[CPU]))
    off = await cluster.until(AUTOSCALERS, "zero", lambda obj: condition(obj, "ScalingActive")[0] == "False")
    assert condition(off, "ScalingActive") == ("False", "ScalingDisabled")
    assert off["status"]["desiredReplicas"] == 0


async def test_two_for_the_same_pods_are_ambiguous(cluster: Any) -> None:
    await web(cluster)
    for name in ("one", "two"):
        await cluster.client.create(AUTOSCALERS, autoscaler(name, metrics=[CPU]))
    await cluster.until(AUTOSCALERS, "two", lambda obj: condition(obj, "ScalingActive")[0])
    both = await cluster.until(
        AUTOSCALERS, "one", lambda obj: condition(obj, "ScalingActive") == ("False", "AmbiguousSelector")
    )
    message = next(c["message"] for c in both["status"]["conditions"] if c["type"] == "ScalingActive")
    assert message == "pods by selector app=web are controlled by multiple HPAs: [default/one default/two]"


async def test_a_custom_resource_with_a_scale(cluster: Any) -> None:
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "subresources": {"status": {}, "scale": {**paths, "labelSelectorPath": ".status.selector"}},
    }
    names = {"plural": "fleets", "singular": "fleet", "kind": "Fleet"}
    spec = {"group": "sea.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": "fleets.sea.example.com"}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta}
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, {**definition, "spec": spec})
    fleets = ResourceType("sea.example.com", "v1", "fleets", "Fleet")
    await declare(cluster, "2")
    pod = {
        "metadata": {"name": "boat", "namespace": "default", "labels": {"app": "web"}},
        "apiVersion": "v1",
        "kind": "Pod",
    }
    inner = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]}
    await cluster.client.create(PODS, {**pod, "spec": inner})
    await cluster.until(PODS, "boat", lambda obj: obj.get("status", {}).get("phase") == "Running")
    boats = {"apiVersion": "sea.example.com/v1", "kind": "Fleet", "metadata": {"name": "f", "namespace": "default"}}
    made = await cluster.client.create(fleets, {**boats, "spec": {"replicas": 1}})
    await cluster.client.update(
        fleets, {**made, "status": {"replicas": 1, "selector": "app=web"}}, subresource="status"
    )
    reference = {"apiVersion": "sea.example.com/v1", "kind": "Fleet", "name": "f"}
    await cluster.client.create(AUTOSCALERS, autoscaler("f", metrics=[CPU], scaleTargetRef=reference))
    await cluster.until(fleets, "f", lambda obj: obj["spec"]["replicas"] == 8)


EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "100"}}}


async def test_to_zero_and_back(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The autoscaler wakes what it put to sleep, and leaves alone what somebody else did (KEP-2021)."""
    waiting = {"q": 0}

    async def external(self: Any, name: str, namespace: str, metric: Object | None) -> int:
        return waiting[name] * 1000

    monkeypatch.setattr("sampan.controllers.autoscaling_metrics.Metrics.external", external)
    await web(cluster)
    await cluster.client.create(AUTOSCALERS, autoscaler("web", minReplicas=0, metrics=[EXTERNAL]))
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 0)
    slept = await cluster.until(AUTOSCALERS, "web", lambda obj: condition(obj, "ScaledToZero")[0] == "True")
    assert condition(slept, "ScaledToZero") == ("True", "ScaledToZero")
    waiting["q"] = 300
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 3)
    woken = await cluster.until(AUTOSCALERS, "web", lambda obj: condition(obj, "ScaledToZero")[0] == "False")
    message = next(c["message"] for c in woken["status"]["conditions"] if c["type"] == "ScaledToZero")
    assert message == "the HPA controller did not scale the workload to zero"
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}}, "default")
    off = await cluster.until(AUTOSCALERS, "web", lambda obj: condition(obj, "ScalingActive")[0] == "False")
    assert condition(off, "ScalingActive") == ("False", "ScalingDisabled")
    assert (await cluster.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 0


async def test_a_target_that_somebody_else_changes_is_scaled_all_the_same(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await web(cluster, 2, request="")
    times = 0

    async def crossed(client: Any, resource: ResourceType, *given: Any) -> Object:
        nonlocal times
        scale = await read(client, resource, *given)
        if times < 2:
            times += 1
            labels = {"metadata": {"labels": {"times": str(times)}}}
            await cluster.client.patch(DEPLOYMENTS, "web", labels, "default")
        return scale

    from sampan.controllers import autoscaling_scale, horizontal_pod_autoscaler

    read = autoscaling_scale.read_scale
    monkeypatch.setattr(autoscaling_scale, "read_scale", crossed)
    monkeypatch.setattr(horizontal_pod_autoscaler, "read_scale", crossed)
    await cluster.client.create(AUTOSCALERS, autoscaler("web", minReplicas=4, metrics=[CPU]))
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["spec"]["replicas"] == 4)
    events = (await cluster.client.list(EVENTS, "default")).items
    assert times == 2
    assert not [event for event in events if event["reason"] == "FailedRescale"]
