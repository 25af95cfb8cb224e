"""What one object uses of a quota, and which quotas it falls under."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.quotas.amounts import read, text
from sampan.api.quotas.coverage import covers, unsaid
from sampan.api.quotas.usage import usage


def used(group: str, plural: str, obj: Any) -> dict[str, str]:
    return {name: str(value) for name, value in usage(group, plural, obj).items()}


def container(name: str = "c", requests: Any = None, limits: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(container()), {}),
        (
            pod(
                container(requests={"cpu": "100m", "memory": "1Gi"}, limits={"cpu": "1"}), container("d", {"cpu": "1"})
            ),
            {"cpu": "1100m", "requests.cpu": "1100m", "memory": "1Gi", "requests.memory": "1Gi", "limits.cpu": "1"},
        ),
        (
            pod(
                container(requests={"cpu": "1"}),
                initContainers=[container("i", {"cpu": "3"}), container("j", {"cpu": "2"})],
            ),
            {"cpu": "3", "requests.cpu": "3"},
        ),
        (
            pod(
                container(requests={"cpu": "1"}),
                initContainers=[container("s", {"cpu": "2"}, restartPolicy="Always"), container("i", {"cpu": "2"})],
            ),
            {"cpu": "4", "requests.cpu": "4"},
        ),
        (
            pod(container(requests={"cpu": "1"}, limits={"memory": "1Gi"}), overhead={"cpu": "100m", "memory": "1Mi"}),
            {
                "cpu": "1100m",
                "requests.cpu": "1100m",
                "memory": "1Mi",
                "requests.memory": "1Mi",
                "limits.memory": "1025Mi",
            },
        ),
        (
            pod(container(requests={"hugepages-2Mi": "4Mi", "x.y/gpu": "2", "ephemeral-storage": "1Gi"})),
            {
                "hugepages-2Mi": "4Mi",
                "requests.hugepages-2Mi": "4Mi",
                "requests.x.y/gpu": "2",
                "ephemeral-storage": "1Gi",
                "requests.ephemeral-storage": "1Gi",
            },
        ),
        (
            pod(container(requests={"cpu": "1", "memory": "1Gi"}), resources={"requests": {"cpu": "5"}}),
            {"cpu": "5", "requests.cpu": "5", "memory": "1Gi", "requests.memory": "1Gi"},
        ),
    ],
)
def test_pods(given: Any, expected: dict[str, str]) -> None:
    assert used("", "pods", given) == {"count/pods": "1", "pods": "1", **expected}


def test_a_pod_that_is_over_only_counts() -> None:
    given = {**pod(container(requests={"cpu": "1"})), "status": {"phase": "Succeeded"}}
    assert used("", "pods", given) == {"count/pods": "1"}


def test_a_pod_past_its_grace_only_counts() -> None:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    given = {**pod(container()), "metadata": metadata}
    at = datetime(2026, 1, 1, 0, 0, 29, tzinfo=UTC)
    assert "pods" in usage("", "pods", given, at)
    assert "pods" not in usage("", "pods", given, at.replace(minute=1))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "ClusterIP", "ports": [{"port": 1}]}, {}),
        ({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}, {"services.nodeports": "2"}),
        (
            {"type": "LoadBalancer", "ports": [{"port": 1}]},
            {"services.nodeports": "1", "services.loadbalancers": "1"},
        ),
        (
            {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": False,
                "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}],
            },
            {"services.nodeports": "1", "services.loadbalancers": "1"},
        ),
    ],
)
def test_services(spec: Any, expected: dict[str, str]) -> None:
    assert used("", "services", {"spec": spec}) == {"count/services": "1", "services": "1", **expected}


def test_volume_claims() -> None:
    spec = {"resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "gold"}
    assert used("", "persistentvolumeclaims", {"spec": spec}) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "2Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "2Gi",
    }
    status = {"allocatedResources": {"storage": "3Gi"}}
    assert used("", "persistentvolumeclaims", {"spec": spec, "status": status})["requests.storage"] == "3Gi"


def test_device_claims_may_take_the_most_of_their_alternatives() -> None:
    alternatives = [{"deviceClassName": "a", "count": 2}, {"deviceClassName": "a"}, {"deviceClassName": "b"}]
    requests = [{"firstAvailable": alternatives}, {"exactly": {"deviceClassName": "a", "allocationMode": "All"}}]
    assert used("resource.k8s.io", "resourceclaims", {"spec": {"devices": {"requests": requests}}}) == {
        "count/resourceclaims.resource.k8s.io": "1",
        "a.deviceclass.resource.k8s.io/devices": "34",
        "b.deviceclass.resource.k8s.io/devices": "1",
    }


def test_everything_else_is_counted() -> None:
    assert used("apps", "deployments", {}) == {"count/deployments.apps": "1"}
    assert used("", "secrets", {}) == {"count/secrets": "1", "secrets": "1"}


def quota(hard: str, *scopes: str, **selector: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"scopes": list(scopes)}
    if selector:
        spec["scopeSelector"] = {"matchExpressions": [selector]}
    return {"spec": spec, "status": {"hard": {hard: "1"}}}


ELSEWHERE = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x", "namespaces": ["other"]}]}


@pytest.mark.parametrize(
    ("given", "bounded", "falls_under"),
    [
        (pod(container()), quota("pods"), True),
        (pod(container()), quota("count/pods"), True),
        (pod(container()), quota("services"), False),
        (pod(container()), quota("requests.x.y/gpu"), True),
        (pod(container()), quota("pods", "BestEffort"), True),
        (pod(container()), quota("pods", "NotBestEffort"), False),
        (pod(container(requests={"cpu": "1"})), quota("pods", "NotBestEffort"), True),
        (pod(container()), quota("pods", "Terminating"), False),
        (pod(container(), activeDeadlineSeconds=5), quota("pods", "Terminating"), True),
        (pod(container(), activeDeadlineSeconds=5), quota("pods", "NotTerminating"), False),
        (pod(container()), quota("pods", "PriorityClass"), False),
        (pod(container(), priorityClassName="a"), quota("pods", "PriorityClass"), True),
        (
            pod(container(), priorityClassName="a"),
            quota("pods", scopeName="PriorityClass", operator="In", values=["a"]),
            True,
        ),
        (pod(container()), quota("pods", scopeName="PriorityClass", operator="In", values=["a"]), False),
        (pod(container()), quota("pods", scopeName="PriorityClass", operator="NotIn", values=["a"]), True),
        (pod(container()), quota("pods", scopeName="PriorityClass", operator="DoesNotExist"), True),
        (pod(container()), quota("pods", "CrossNamespacePodAffinity"), False),
        (
            pod(container(), affinity={"podAntiAffinity": ELSEWHERE}),
            quota("pods", "CrossNamespacePodAffinity"),
            True,
        ),
    ],
)
def test_scopes(given: Any, bounded: Any, falls_under: bool) -> None:
    assert bool(covers(bounded, "", "pods", given)) is falls_under


def test_scopes_are_about_pods() -> None:
    assert covers(quota("count/secrets"), "", "secrets", {}) == ["count/secrets"]
    assert covers(quota("count/secrets", "BestEffort"), "", "secrets", {}) == []
    claim = {"spec": {"volumeAttributesClassName": "gold"}}
    gold = quota("requests.storage", scopeName="VolumeAttributesClass", operator="In", values=["gold"])
    assert covers(gold, "", "persistentvolumeclaims", claim)
    assert not covers(gold, "", "persistentvolumeclaims", {"spec": {}})


def test_what_containers_must_say() -> None:
    given = pod(container("b"), container("a", {"memory": "1"}), initContainers=[container("i", limits={"cpu": "1"})])
    names = ["limits.cpu", "memory", "pods", "requests.storage"]
    assert unsaid("", "pods", names, given) == "must specify limits.cpu for: a,b; memory for: b,i"
    assert unsaid("", "pods", ["pods"], given) == ""
    assert unsaid("", "pods", names, {"spec": {**given["spec"], "resources": {"limits": {"cpu": "1"}}}}) == ""


def test_amounts_as_text() -> None:
    assert text(read({"a": "1000m", "b": "nonsense"})) == {"a": "1"}
