"""What Kubernetes' conformance suite asks of apps ([sig-apps]), on simulated nodes: each of its behaviours that no other test
here shows."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from sampan.controllers.resource_quota import QUOTAS
from sampan.controllers.revisions import REVISION_LABEL
from sampan.schema.objects import Object

LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
CHOSEN = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
SPECS: dict[ResourceType, Object] = {
    DEPLOYMENTS: {"replicas": 1, **CHOSEN},
    REPLICA_SETS: {"replicas": 1, **CHOSEN},
    REPLICATION_CONTROLLERS: {"replicas": 1, "selector": LABELS, "template": TEMPLATE},
    STATEFUL_SETS: {"replicas": 1, "serviceName": "web", **CHOSEN},
    DAEMON_SETS: CHOSEN,
    JOBS: {"suspend": True, "template": ONCE},
    CRON_JOBS: {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": ONCE}}},
    POD_DISRUPTION_BUDGETS: {"minAvailable": 1, "selector": {"matchLabels": LABELS}},
}
SCALABLE = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)


def made(resource: ResourceType, name: str = "web", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "labels": {"is": "conformant"}}
    body = {**copy.deepcopy(SPECS[resource]), **spec}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": body}


def of(resource: ResourceType) -> str:
    return resource.kind


def running(pods: list[Object]) -> list[Object]:
    return [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


async def ready(cluster: Any, resource: ResourceType, count: int) -> Object:
    return await cluster.until(resource, "web", lambda obj: obj.get("status", {}).get("readyReplicas", 0) == count)


# the API of each kind


@pytest.mark.parametrize("resource", SPECS, ids=of)
async def test_status_endpoints_and_collections(cluster: Any, resource: ResourceType) -> None:
    client = cluster.client
    await client.create(resource, made(resource))
    await client.patch(resource, "web", {"metadata": {"annotations": {"patched": "yes"}}}, "default")
    path = resource.path("default", "web", "status")
    condition = {"type": "StatusPatched", "status": "True", "reason": "Test", "message": "by us"}
    if resource is CRON_JOBS:  # whose status has no conditions
        body = {"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}
        await client.patch(resource, "web", body, "default", subresource="status")
        assert orjson.loads((await client.raw("GET", path))[1])["status"] == body["status"]
    else:
        if resource is POD_DISRUPTION_BUDGETS or resource is JOBS:
            condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        kept = orjson.loads((await client.raw("GET", path))[1]).get("status", {}).get("conditions") or []
        body = {"metadata": {"annotations": {"by-status": "yes"}}, "status": {"conditions": [*kept, condition]}}
        await client.patch(resource, "web", body, "default", subresource="status")
        status, answer = await client.raw("GET", path)
        assert status == 200
        assert "StatusPatched" in [one["type"] for one in orjson.loads(answer)["status"]["conditions"]]
    found = await client.get(resource, "web", "default")
    assert found["metadata"]["annotations"]["patched"] == "yes"
    status, answer = await client.raw("PUT", path, body=found)
    assert status in (200, 409)  # a controller may have been at it meanwhile
    listed = await client.list(resource, label_selector="is=conformant")
    assert [one["metadata"]["name"] for one in listed.items] == ["web"]
    status, _ = await client.raw("DELETE", resource.path("default"), query={"labelSelector": "is=conformant"})
    assert status == 200
    await cluster.gone(resource, "web")


@pytest.mark.parametrize("resource", SCALABLE, ids=of)
async def test_a_working_scale(cluster: Any, resource: ResourceType) -> None:
    client = cluster.client
    await client.create(resource, made(resource))
    await ready(cluster, resource, 1)
    path = resource.path("default", "web", "scale")
    scale = orjson.loads((await client.raw("GET", path))[1])
    assert (scale["spec"]["replicas"], scale["status"]["selector"]) == (1, "app=web")
    status, _ = await client.raw("PUT", path, body={**scale, "spec": {"replicas": 2}})
    assert status == 200
    await ready(cluster, resource, 2)
    await client.patch(resource, "web", {"spec": {"replicas": 4}}, "default", subresource="scale")
    await ready(cluster, resource, 4)


# ReplicaSets and ReplicationControllers


@pytest.mark.parametrize("resource", [REPLICA_SETS, REPLICATION_CONTROLLERS], ids=of)
async def test_pods_are_adopted_and_released(cluster: Any, resource: ResourceType) -> None:
    metadata = {"name": "stray", "namespace": "default", "labels": LABELS}
    await cluster.client.create(
        PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": TEMPLATE["spec"]}
    )
    await cluster.client.create(resource, made(resource))
    adopted = await cluster.until(PODS, "stray", lambda pod: pod["metadata"].get("ownerReferences"))
    assert adopted["metadata"]["ownerReferences"][0]["kind"] == resource.kind
    await ready(cluster, resource, 1)
    assert len(await cluster.pods("web")) == 1
    await cluster.client.patch(PODS, "stray", {"metadata": {"labels": {"app": "free"}}}, "default")
    await cluster.until(PODS, "stray", lambda pod: not pod["metadata"].get("ownerReferences"))
    await cluster.until_all(PODS, lambda pods: len(running(pods)) == 2)


@pytest.mark.parametrize("resource", [REPLICA_SETS, REPLICATION_CONTROLLERS], ids=of)
async def test_an_exceeded_quota_is_a_condition_until_it_fits(cluster: Any, resource: ResourceType) -> None:
    quota = {"metadata": {"name": "two", "namespace": "default"}, "spec": {"hard": {"pods": "2"}}}
    await cluster.client.create(QUOTAS, {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    await cluster.until(QUOTAS, "two", lambda q: "used" in q.get("status", {}))
    await cluster.client.create(resource, made(resource, replicas=3))
    failed = await cluster.until(resource, "web", lambda obj: obj.get("status", {}).get("conditions"))
    (condition,) = failed["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
    assert "exceeded quota" in condition["message"]
    await cluster.client.patch(resource, "web", {"spec": {"replicas": 2}}, "default", subresource="scale")
    await cluster.until(resource, "web", lambda obj: not obj["status"].get("conditions"))


async def test_a_name_that_is_taken_is_not_the_end(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are drawn as the API draws those of ``generateName``: again where one is taken."""
    drawn = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb", "ccccc", "ddddd", "eeeee", "fffff"])
    monkeypatch.setattr("sampan.controllers.pod_control.random_suffix", lambda: next(drawn))
    await cluster.client.create(REPLICA_SETS, made(REPLICA_SETS, replicas=2))
    await ready(cluster, REPLICA_SETS, 2)
    assert sorted(pod["metadata"]["name"] for pod in await cluster.pods("web")) == ["web-aaaaa", "web-bbbbb"]


# Deployments


async def test_a_rollover_leaves_only_the_newest(cluster: Any) -> None:
    slow = copy.deepcopy(TEMPLATE)
    slow["metadata"]["annotations"] = {"sim.sampan.dev/start-seconds": "3600"}  # type: ignore[index]
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS, replicas=3))
    await cluster.rolled_out("web")
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"template": slow}}, "default")
    await cluster.until_all(REPLICA_SETS, lambda sets: len(sets) == 2)
    quick = {"spec": {"template": {"metadata": {"annotations": None}, **image("three")["spec"]["template"]}}}
    await cluster.client.patch(DEPLOYMENTS, "web", quick, "default")
    await cluster.rolled_out("web")
    sizes = {
        rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: rs["spec"]["replicas"]
        for rs in await cluster.replica_sets("web")
    }
    assert sizes == {"1": 0, "2": 0, "3": 3}


async def test_a_rollback_finds_its_replica_set(cluster: Any) -> None:
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS))
    await cluster.rolled_out("web")
    for name in ("two", "one"):
        await cluster.client.patch(DEPLOYMENTS, "web", image(name), "default", type="strategic")
        await cluster.rolled_out("web")
    assert len(await cluster.replica_sets("web")) == 2
    found = await cluster.client.get(DEPLOYMENTS, "web", "default")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert {pod["spec"]["containers"][0]["image"] for pod in await cluster.pods("web")} == {"one"}


async def test_a_relabelled_replica_set_is_let_go_and_taken_back(cluster: Any) -> None:
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS))
    await cluster.rolled_out("web")
    (first,) = await cluster.replica_sets("web")
    name = first["metadata"]["name"]
    await cluster.client.patch(REPLICA_SETS, name, {"metadata": {"labels": {"app": "free"}}}, "default")
    await cluster.until(REPLICA_SETS, name, lambda rs: not rs["metadata"].get("ownerReferences"))
    await cluster.client.patch(REPLICA_SETS, name, {"metadata": {"labels": LABELS}}, "default")
    await cluster.until(REPLICA_SETS, name, lambda rs: rs["metadata"].get("ownerReferences"))


async def test_pods_on_their_way_out_are_counted(cluster: Any) -> None:
    leaving = copy.deepcopy(TEMPLATE)
    leaving["metadata"]["annotations"] = {"sim.sampan.dev/stop-seconds": "0.3"}  # type: ignore[index]
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS, replicas=2, template=leaving))
    await cluster.rolled_out("web")
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["status"].get("terminatingReplicas") == 1)
    await cluster.until(DEPLOYMENTS, "web", lambda obj: obj["status"].get("terminatingReplicas") == 0)


async def test_a_pod_counts_when_it_has_been_ready_long_enough(cluster: Any) -> None:
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS, minReadySeconds=3600, progressDeadlineSeconds=7200))
    early = await cluster.until(DEPLOYMENTS, "web", lambda obj: obj.get("status", {}).get("readyReplicas") == 1)
    assert not early["status"].get("availableReplicas")
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"minReadySeconds": 1}}, "default")
    await cluster.rolled_out("web")


# StatefulSets


async def test_a_failed_pod_of_a_stateful_set_is_made_again(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, made(STATEFUL_SETS))
    await ready(cluster, STATEFUL_SETS, 1)
    (pod,) = await cluster.pods("web")
    await cluster.client.patch(PODS, "web-0", {"status": {"phase": "Failed"}}, "default", subresource="status")
    again = await cluster.until(
        PODS,
        "web-0",
        lambda found: found["metadata"]["uid"] != pod["metadata"]["uid"] and found["status"].get("phase") == "Running",
    )
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    await cluster.event("RecreatingFailedPod")


async def unready(cluster: Any, name: str, value: str) -> None:
    conditions = [{"type": "Ready", "status": value, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    await cluster.client.patch(
        PODS, name, {"status": {"conditions": conditions}}, "default", type="strategic", subresource="status"
    )


async def test_scaling_halts_at_a_pod_that_is_not_well(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, made(STATEFUL_SETS, replicas=2))
    await ready(cluster, STATEFUL_SETS, 2)
    await unready(cluster, "web-0", "False")
    await ready(cluster, STATEFUL_SETS, 1)
    await cluster.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 4}}, "default")
    await cluster.until(
        STATEFUL_SETS, "web", lambda obj: obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
    )
    assert len(await cluster.pods("web")) == 2
    await unready(cluster, "web-0", "True")
    await ready(cluster, STATEFUL_SETS, 4)
    for name in ("web-1", "web-3"):  # the highest goes first, and is not the first that is not well
        await unready(cluster, name, "False")
    await ready(cluster, STATEFUL_SETS, 2)
    await cluster.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 0}}, "default")
    await cluster.until(
        STATEFUL_SETS, "web", lambda obj: obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
    )
    assert len(await cluster.pods("web")) == 4
    await unready(cluster, "web-3", "True")
    await unready(cluster, "web-1", "True")
    await cluster.until_all(PODS, lambda pods: not pods)


async def test_a_burst_goes_on_although_pods_are_not_well(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, made(STATEFUL_SETS, podManagementPolicy="Parallel", replicas=1))
    await ready(cluster, STATEFUL_SETS, 1)
    await unready(cluster, "web-0", "False")
    await cluster.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 4}}, "default")
    await cluster.until_all(PODS, lambda pods: len(running(pods)) == 4)
    await cluster.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 0}}, "default")
    await cluster.until_all(PODS, lambda pods: not pods)


def revisions(pods: list[Object]) -> dict[str, str]:
    return {
        pod["metadata"]["name"]: pod["metadata"]["labels"][REVISION_LABEL]
        for pod in running(pods)
        if "deletionTimestamp" not in pod["metadata"]
    }


async def test_a_canary_stays_within_its_partition(cluster: Any) -> None:
    rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    await cluster.client.create(STATEFUL_SETS, made(STATEFUL_SETS, replicas=3, **rolling))
    before = (await ready(cluster, STATEFUL_SETS, 3))["status"]["currentRevision"]
    await cluster.client.patch(STATEFUL_SETS, "web", image("two"), "default", type="strategic")
    changed = await cluster.until(STATEFUL_SETS, "web", lambda obj: obj["status"]["updateRevision"] != before)
    after = changed["status"]["updateRevision"]
    canary = {"web-0": before, "web-1": before, "web-2": after}
    await cluster.until_all(PODS, lambda pods: revisions(pods) == canary)
    for name in ("web-0", "web-2"):
        uid = (await cluster.client.get(PODS, name, "default"))["metadata"]["uid"]
        await cluster.client.delete(PODS, name, "default")
        await cluster.until(PODS, name, lambda pod, uid=uid: pod["metadata"]["uid"] != uid)
    await cluster.until_all(PODS, lambda pods: revisions(pods) == canary)
    found = await cluster.client.get(STATEFUL_SETS, "web", "default")
    assert (found["status"]["currentRevision"], found["status"]["updateRevision"]) == (before, after)
    wider = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await cluster.client.patch(STATEFUL_SETS, "web", wider, "default")
    await cluster.until(STATEFUL_SETS, "web", lambda obj: obj["status"]["currentRevision"] == after)


async def test_a_template_of_before_is_a_rollback(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, made(STATEFUL_SETS))
    first = (await ready(cluster, STATEFUL_SETS, 1))["status"]["currentRevision"]
    await cluster.client.patch(STATEFUL_SETS, "web", image("two"), "default", type="strategic")
    await cluster.until(STATEFUL_SETS, "web", lambda obj: obj["status"]["currentRevision"] != first)
    await cluster.client.patch(STATEFUL_SETS, "web", image("one"), "default", type="strategic")
    await cluster.until(STATEFUL_SETS, "web", lambda obj: obj["status"]["currentRevision"] == first)
    assert len((await cluster.client.list(CONTROLLER_REVISIONS, "default")).items) == 2


# DaemonSets


async def test_a_daemon_pod_that_fails_or_goes_is_made_again(cluster: Any) -> None:
    await cluster.client.create(DAEMON_SETS, made(DAEMON_SETS))
    (pod,) = await cluster.until_all(PODS, lambda pods: running(pods))
    await cluster.client.patch(
        PODS, pod["metadata"]["name"], {"status": {"phase": "Failed"}}, "default", subresource="status"
    )
    (second,) = await cluster.until_all(
        PODS, lambda pods: [p for p in running(pods) if p["metadata"]["uid"] != pod["metadata"]["uid"]]
    )
    await cluster.event("FailedDaemonPod")
    await cluster.client.delete(PODS, second["metadata"]["name"], "default")
    gone = {pod["metadata"]["uid"], second["metadata"]["uid"]}
    await cluster.until_all(PODS, lambda pods: [p for p in running(pods) if p["metadata"]["uid"] not in gone])


async def test_daemons_follow_the_labels_of_nodes(cluster: Any) -> None:
    chosen = copy.deepcopy(TEMPLATE)
    chosen["spec"]["nodeSelector"] = {"color": "blue"}  # type: ignore[index]
    await cluster.client.create(DAEMON_SETS, made(DAEMON_SETS, template=chosen))
    await cluster.until(DAEMON_SETS, "web", lambda obj: obj.get("status", {}).get("observedGeneration") == 1)
    assert not await cluster.pods("web")
    await cluster.until(NODES, "sim", bool, None)
    await cluster.client.patch(NODES, "sim", {"metadata": {"labels": {"color": "blue"}}})
    await cluster.until_all(PODS, lambda pods: len(running(pods)) == 1)
    await cluster.client.patch(NODES, "sim", {"metadata": {"labels": {"color": "green"}}})
    await cluster.until_all(PODS, lambda pods: not pods)
    green = {"spec": {"template": {"spec": {"nodeSelector": {"color": "green"}}}}}
    await cluster.client.patch(DAEMON_SETS, "web", green, "default")
    await cluster.until_all(PODS, lambda pods: len(running(pods)) == 1)


async def test_a_rollback_of_daemons_restarts_nothing_without_need(cluster: Any) -> None:
    await cluster.client.create(DAEMON_SETS, made(DAEMON_SETS))
    for name in ("sim-2", "sim-3"):
        node = {"metadata": {"name": name, "annotations": {"sim.sampan.dev/simulated": ""}}}
        await cluster.client.create(NODES, {"apiVersion": "v1", "kind": "Node", **node})
    await cluster.until_all(PODS, lambda pods: len(running(pods)) == 3)
    stuck = image("two")
    stuck["spec"]["template"]["metadata"] = {"annotations": {"sim.sampan.dev/start-seconds": "3600"}}
    await cluster.client.patch(DAEMON_SETS, "web", stuck, "default", type="strategic")
    pods = await cluster.until_all(
        PODS, lambda pods: any(p["spec"]["containers"][0]["image"] == "two" for p in pods) and len(running(pods)) == 2
    )
    kept = {pod["metadata"]["uid"] for pod in running(pods)}
    back = {"spec": {"template": {"metadata": {"annotations": None}, **image("one")["spec"]["template"]}}}
    await cluster.client.patch(DAEMON_SETS, "web", back, "default")
    after = await cluster.until_all(
        PODS, lambda pods: len(running(pods)) == 3 and {p["spec"]["containers"][0]["image"] for p in pods} == {"one"}
    )
    assert kept <= {pod["metadata"]["uid"] for pod in after}


async def test_the_life_of_a_controller_revision(cluster: Any) -> None:
    client = cluster.client
    await client.create(DAEMON_SETS, made(DAEMON_SETS))
    (first,) = await cluster.until_all(CONTROLLER_REVISIONS, bool)
    await client.patch(CONTROLLER_REVISIONS, first["metadata"]["name"], {"metadata": {"labels": {"a": "b"}}}, "default")
    metadata = {
        "name": "by-hand",
        "namespace": "default",
        "labels": {**first["metadata"]["labels"], "mine": "yes"},
        "ownerReferences": first["metadata"]["ownerReferences"],
    }
    hand = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": first["data"]}
    await client.create(CONTROLLER_REVISIONS, {**hand, "revision": 2})
    assert len((await client.list(CONTROLLER_REVISIONS, "default", label_selector="app=web")).items) == 2
    await client.delete(CONTROLLER_REVISIONS, first["metadata"]["name"], "default")
    await client.patch(DAEMON_SETS, "web", image("two"), "default", type="strategic")
    await cluster.until_all(CONTROLLER_REVISIONS, lambda found: sorted(one["revision"] for one in found) == [2, 3])
    status, _ = await client.raw("DELETE", CONTROLLER_REVISIONS.path("default"), query={"labelSelector": "mine=yes"})
    assert status == 200
    await cluster.until_all(CONTROLLER_REVISIONS, lambda found: [one["revision"] for one in found] == [3])


# disruption


async def test_an_eviction_waits_for_its_budget(cluster: Any) -> None:
    await cluster.client.create(DEPLOYMENTS, made(DEPLOYMENTS, replicas=2))
    await cluster.rolled_out("web")
    await cluster.client.create(POD_DISRUPTION_BUDGETS, made(POD_DISRUPTION_BUDGETS, minAvailable=2))
    await cluster.until(POD_DISRUPTION_BUDGETS, "web", lambda obj: obj.get("status", {}).get("currentHealthy") == 2)
    pod = (await cluster.pods("web"))[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
    with pytest.raises(ApiError, match="disruption budget"):
        await cluster.client.create(PODS, eviction, "default", subresource="eviction", name=pod)
    await cluster.client.patch(POD_DISRUPTION_BUDGETS, "web", {"spec": {"minAvailable": 1}}, "default")
    await cluster.until(POD_DISRUPTION_BUDGETS, "web", lambda obj: obj["status"]["disruptionsAllowed"] == 1)
    await cluster.client.create(PODS, eviction, "default", subresource="eviction", name=pod)
    await cluster.gone(PODS, pod)
