"""What Kubernetes' conformance suite asks of ResourceQuotas: the life of what they count, in its scope and out of it.

Source: kubernetes test/e2e/apimachinery/resource_quota.go.
"""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import CONFIG_MAPS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, SECRETS, SERVICES
from sampan.controllers.resource_quota import QUOTAS
from sampan.schema.objects import Object

LABELS = {"app": "counted"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
LOAD_BALANCER = {"type": "LoadBalancer", "ports": [{"port": 80}]}
NODE_PORT = {"type": "NodePort", "ports": [{"port": 80}]}
CONTROLLER = {"replicas": 0, "selector": LABELS, "template": TEMPLATE}
REPLICAS = {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}


def quota(name: str, hard: dict[str, str], *scopes: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    spec = {"hard": hard, **({"scopes": list(scopes)} if scopes else {})}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def pod(name: str, resources: dict[str, Any] | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": resources or {}}
    metadata = {"name": name, "namespace": "default"}
    body = {"containers": [container], "nodeName": "nowhere", **spec}  # nobody runs it: its deletion is ours
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def uses(**used: str) -> Any:
    def so(found: Object) -> bool:
        have = (found.get("status") or {}).get("used") or {}
        return all(have.get(key) == value for key, value in used.items())

    return so


async def delete_pod(cluster: Any, name: str) -> None:
    await cluster.client.delete(PODS, name, "default", grace_period_seconds=0)


@pytest.mark.parametrize(
    ("resource", "fields", "counted"),
    [
        (CONFIG_MAPS, {"data": {"a": "1"}}, ("configmaps",)),
        (SECRETS, {"data": {"a": "MQ=="}}, ("secrets",)),
        (SERVICES, {"spec": LOAD_BALANCER}, ("services", "services.loadbalancers")),
        (SERVICES, {"spec": NODE_PORT}, ("services", "services.nodeports")),
        (REPLICATION_CONTROLLERS, {"spec": CONTROLLER}, ("replicationcontrollers",)),
        (REPLICA_SETS, {"spec": REPLICAS}, ("count/replicasets.apps",)),
    ],
    ids=["configmap", "secret", "load-balancer", "node-port", "replicationcontroller", "replicaset"],
)
async def test_the_life_of_an_object_is_counted(
    cluster: Any, resource: ResourceType, fields: dict[str, Any], counted: tuple[str, ...]
) -> None:
    await cluster.client.create(QUOTAS, quota("q", dict.fromkeys(counted, "5")))
    before = await cluster.until(
        QUOTAS, "q", lambda one: set((one.get("status") or {}).get("used") or ()) == set(counted)
    )
    assert before["status"]["hard"] == dict.fromkeys(counted, "5")
    there = {name: int(count) for name, count in before["status"]["used"].items()}
    metadata = {"name": "counted", "namespace": "default"}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}
    await cluster.client.create(resource, body)
    found = await cluster.client.get(QUOTAS, "q", "default")  # it counts in the answer to its creation
    assert found["status"]["used"] == {name: str(count + 1) for name, count in there.items()}
    await cluster.client.delete(resource, "counted", "default")
    await cluster.until(QUOTAS, "q", uses(**{name: str(count) for name, count in there.items()}))


async def test_the_life_of_a_pod_is_counted(cluster: Any) -> None:
    extended = "example.com/dongle"
    hard = {"pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "50Gi", f"requests.{extended}": "3"}
    await cluster.client.create(QUOTAS, quota("q", hard))
    await cluster.until(QUOTAS, "q", uses(pods="0", cpu="0"))
    amounts = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", extended: "2"}
    resources = {"requests": amounts, "limits": {extended: "2"}}
    made = await cluster.client.create(PODS, pod("fits", resources))
    used = {"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", f"requests.{extended}": "2"}
    assert (await cluster.client.get(QUOTAS, "q", "default"))["status"]["used"] == used
    for too_much in ({**amounts, "cpu": "600m"}, {**amounts, "memory": "300Mi"}, {**amounts, extended: "2"}):
        with pytest.raises(ApiError, match="exceeded quota: q") as refused:
            limits = {extended: too_much[extended]}
            await cluster.client.create(PODS, pod("not-fits", {"requests": too_much, "limits": limits}))
        assert refused.value.code == 403
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"
    with pytest.raises(ApiError) as refused:
        await cluster.client.update(PODS, made)
    assert refused.value.code == 422
    await delete_pod(cluster, "fits")
    await cluster.until(QUOTAS, "q", uses(**dict.fromkeys(used, "0")))


SMALL = {"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}}


@pytest.mark.parametrize(
    ("inside", "outside", "counted", "other"),
    [
        ("Terminating", "NotTerminating", pod("p", SMALL, activeDeadlineSeconds=3600), pod("p", SMALL)),
        ("BestEffort", "NotBestEffort", pod("p"), pod("p", SMALL)),
    ],
)
async def test_a_pod_counts_in_the_scope_it_is_in(
    cluster: Any, inside: str, outside: str, counted: Object, other: Object
) -> None:
    hard = {"pods": "5"} if inside == "BestEffort" else {"requests.cpu": "1", "requests.memory": "500Mi", "pods": "5"}
    for name, scope in (("in", inside), ("out", outside)):
        await cluster.client.create(QUOTAS, quota(name, hard, scope))
        await cluster.until(QUOTAS, name, uses(pods="0"))
    for body, here, there in ((counted, "in", "out"), (other, "out", "in")):
        await cluster.client.create(PODS, body)
        assert uses(pods="1")(await cluster.client.get(QUOTAS, here, "default"))
        assert uses(pods="0")(await cluster.client.get(QUOTAS, there, "default"))
        await delete_pod(cluster, "p")
        await cluster.until(QUOTAS, here, uses(pods="0"))
