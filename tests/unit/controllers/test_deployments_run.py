"""Deployments and ReplicaSets on the real in-process API with a simulated node."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS
from sampan.controllers.resource_quota import QUOTAS
from sampan.schema.objects import Object

POLICIES, BINDINGS = (
    ResourceType(
        "admissionregistration.k8s.io",
        "v1",
        f"validatingadmissionpolic{end}",
        f"ValidatingAdmissionPolicy{kind}",
        False,
    )
    for end, kind in (("ies", ""), ("ybindings", "Binding"))
)


def condition(obj: Object, type: str) -> Object:
    conditions = obj.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == type), {"status": "", "reason": "", "message": ""})


def revision(obj: Object) -> str:
    return str(obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


async def test_from_apply_to_available(cluster: Any) -> None:
    await cluster.deploy("web", 3)
    done = await cluster.rolled_out("web")
    assert condition(done, "Available")["status"] == "True"
    done = await cluster.until(
        DEPLOYMENTS, "web", lambda d: condition(d, "Progressing")["reason"] == "NewReplicaSetAvailable"
    )
    assert revision(done) == "1"
    (replica_set,) = await cluster.replica_sets("web")
    suffix = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{suffix}"
    assert condition(done, "Progressing")["message"] == f'ReplicaSet "web-{suffix}" has successfully progressed.'
    pods = await cluster.pods("web")
    assert len(pods) == 3
    assert all(pod["metadata"]["labels"]["pod-template-hash"] == suffix for pod in pods)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"sim"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 3
    scaling = await cluster.event("ScalingReplicaSet")
    assert scaling["message"] == f"Scaled up replica set web-{suffix} from 0 to 3"
    assert (await cluster.event("SuccessfulCreate"))["message"].startswith(f"Created pod: web-{suffix}-")


async def test_a_rolling_update_keeps_within_its_limits_and_can_be_undone(cluster: Any) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await cluster.deploy("web", 4, strategy=strategy)
    await cluster.rolled_out("web")
    least, most = 99, 0

    async def observe() -> None:
        nonlocal least, most
        async for _ in cluster.client.watch(PODS, "default", resource_version="0"):
            pods = await cluster.pods("web")
            alive = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
            ready = [p for p in alive if any(c["type"] == "Ready" and c["status"] == "True"
                     for c in p["status"].get("conditions") or ())]  # fmt: skip
            if len(alive) > 4 or most:
                least = min(least, len(ready))
            most = max(most, len(alive) if least < 99 or len(alive) > 4 else 0)

    observer = asyncio.create_task(observe())
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", image, "default", type="strategic")
    done = await cluster.rolled_out("web")
    observer.cancel()
    await asyncio.gather(observer, return_exceptions=True)
    assert (least, most) == (4, 5)
    assert revision(done) == "2"
    assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods("web")} == {"two"}
    old, new = sorted(await cluster.replica_sets("web"), key=revision)
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 4)
    image["spec"]["template"]["spec"]["containers"][0]["image"] = "one"
    await cluster.client.patch(DEPLOYMENTS, "web", image, "default", type="strategic")
    done = await cluster.rolled_out("web")
    assert revision(done) == "3"
    again = await cluster.client.get(REPLICA_SETS, old["metadata"]["name"], "default")
    assert (revision(again), again["spec"]["replicas"]) == ("3", 4)
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


async def test_recreate_never_mixes(cluster: Any) -> None:
    """Not even ReplicaSets: that of the new template comes when the last old pod has gone."""
    await cluster.deploy("web", 2, strategy={"type": "Recreate"})
    await cluster.rolled_out("web")
    mixed: list[set[str]] = []

    async def observe() -> None:
        async for _ in cluster.client.watch(PODS, "default", resource_version="0"):
            pods = await cluster.pods("web")
            mixed.append({p["spec"]["containers"][0]["image"] for p in pods})
            if mixed[-1] == {"one"}:
                still = {p["metadata"]["uid"] for p in pods}
                sets = await cluster.replica_sets("web")
                if len(sets) > 1:  # read after the pods: they must have gone meanwhile
                    assert not still & {p["metadata"]["uid"] for p in await cluster.pods("web")}

    observer = asyncio.create_task(observe())
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", image, "default", type="strategic")
    await cluster.rolled_out("web")
    observer.cancel()
    (ended,) = await asyncio.gather(observer, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended
    assert mixed
    assert all(len(images) <= 1 for images in mixed)


async def test_scaling_to_nothing_and_back(cluster: Any) -> None:
    await cluster.deploy("web", 5)
    await cluster.rolled_out("web")
    for replicas in (0, 2, 7):
        scale = {"spec": {"replicas": replicas}}
        await cluster.client.patch(DEPLOYMENTS, "web", scale, "default", subresource="scale")
        await cluster.rolled_out("web")
        assert len(await cluster.pods("web")) == replicas
    assert len(await cluster.replica_sets("web")) == 1


async def test_scaling_while_a_rollout_is_stuck_and_then_going_on(cluster: Any) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    await cluster.deploy("web", 4, strategy=strategy)
    await cluster.rolled_out("web")
    stuck = {"metadata": {"annotations": {"sim.sampan.dev/start-seconds": "3600"}}}
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"template": stuck}}, "default")
    await cluster.until(DEPLOYMENTS, "web", lambda d: d["status"].get("updatedReplicas") == 2)
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 8}}, "default")
    await cluster.until(DEPLOYMENTS, "web", lambda d: d["status"]["replicas"] == 9)
    free = {"metadata": {"annotations": {"sim.sampan.dev/start-seconds": "0"}}}
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"template": free}}, "default")
    await cluster.rolled_out("web")
    assert len(await cluster.pods("web")) == 8


async def test_a_paused_deployment_scales_but_does_not_roll(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    template = {"spec": {"containers": [{"name": "c", "image": "two"}]}}
    paused = {"spec": {"paused": True, "replicas": 3, "template": template}}
    await cluster.client.patch(DEPLOYMENTS, "web", paused, "default", type="strategic")
    await cluster.until(DEPLOYMENTS, "web", lambda d: d["status"].get("availableReplicas") == 3)
    stopped = await cluster.until(
        DEPLOYMENTS, "web", lambda d: condition(d, "Progressing")["reason"] == "DeploymentPaused"
    )
    assert condition(stopped, "Progressing")["status"] == "Unknown"
    assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods("web")} == {"one"}
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}}, "default")
    await cluster.rolled_out("web")
    assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods("web")} == {"two"}


async def test_history_is_kept_to_its_limit(cluster: Any) -> None:
    await cluster.deploy("web", 1, revisionHistoryLimit=1)
    for image in ("two", "three", "four"):
        await cluster.rolled_out("web")
        template = {"spec": {"containers": [{"name": "c", "image": image}]}}
        await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"template": template}}, "default", type="strategic")
    await cluster.rolled_out("web")
    sets = await cluster.until_all(REPLICA_SETS, lambda sets: len(sets) == 2)
    assert sorted(map(revision, sets)) == ["3", "4"]


async def test_a_deployment_past_its_deadline_says_so(cluster: Any) -> None:
    await cluster.deploy("web", 1, progressDeadlineSeconds=1, paused=True)
    stuck = {"metadata": {"annotations": {"sim.sampan.dev/start-seconds": "3600"}}}
    patch = {"spec": {"paused": False, "template": stuck}}
    await cluster.client.patch(DEPLOYMENTS, "web", patch, "default")
    late = await cluster.until(DEPLOYMENTS, "web", lambda d: condition(d, "Progressing")["status"] == "False")
    assert condition(late, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert condition(late, "Available")["status"] == "False"


async def test_a_lost_pod_is_replaced_and_a_relabelled_one_released(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    lost, renamed = await cluster.pods("web")
    await cluster.client.delete(PODS, lost["metadata"]["name"], "default")
    name = renamed["metadata"]["name"]
    await cluster.client.patch(PODS, name, {"metadata": {"labels": {"app": "else"}}}, "default")
    await cluster.until(PODS, name, lambda pod: not pod["metadata"].get("ownerReferences"))
    await cluster.until_all(PODS, lambda pods: len([p for p in pods if p["metadata"]["labels"]["app"] == "web"]) == 2)
    await cluster.rolled_out("web")
    await cluster.client.patch(PODS, name, {"metadata": {"labels": {"app": "web"}}}, "default")
    await cluster.until_all(PODS, lambda pods: len(pods) == 2)


async def test_a_template_that_is_refused_is_told(cluster: Any) -> None:
    body = {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "i"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": body}
    await cluster.deploy("web", 2, template=template)
    failed = await cluster.until(
        DEPLOYMENTS,
        "web",
        lambda d: any(c["type"] == "ReplicaFailure" for c in d.get("status", {}).get("conditions") or ()),
    )
    assert "nobody" in condition(failed, "ReplicaFailure")["message"]
    assert "Error creating: " in (await cluster.event("FailedCreate"))["message"]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": "default"}}
    await cluster.client.raw("POST", "/api/v1/namespaces/default/serviceaccounts", body=account)
    await cluster.rolled_out("web")


async def test_orphans_are_adopted_by_a_deployment_made_anew(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    before = {pod["metadata"]["uid"] for pod in await cluster.pods("web")}
    await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation_policy="Orphan")
    await cluster.gone(DEPLOYMENTS, "web")
    (replica_set,) = await cluster.replica_sets("web")
    assert not replica_set["metadata"].get("ownerReferences")
    again = await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    (replica_set,) = await cluster.replica_sets("web")
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]
    assert {pod["metadata"]["uid"] for pod in await cluster.pods("web")} == before


async def test_fifty_pods_are_made_once_each(cluster: Any) -> None:
    created: list[str] = []

    async def observe() -> None:
        async for event in cluster.client.watch(PODS, "default", resource_version="0"):
            if event.object["metadata"]["name"] == "last":
                return
            if event.type == "ADDED":
                created.append(event.object["metadata"]["name"])

    observer = asyncio.create_task(observe())
    await asyncio.gather(*(cluster.deploy(f"web{number}", 10) for number in range(5)))
    for number in range(5):
        await cluster.rolled_out(f"web{number}")
    spec = {"containers": [{"name": "main", "image": "shop:1"}]}
    await cluster.client.create(PODS, {"metadata": {"name": "last"}, "spec": spec}, "default")
    async with asyncio.timeout(60):
        await observer
    assert len(created) == len(set(created)) == 50


async def test_a_status_takes_nothing_of_the_metadata_with_it(cluster: Any) -> None:
    """The revision's annotation went with the first status, which was written from a copy that was older."""
    await cluster.deploy("web", 1)
    start = (await cluster.client.list(DEPLOYMENTS, "default")).resource_version
    seen: list[bool] = []
    await cluster.rolled_out("web")
    async for event in cluster.client.watch(DEPLOYMENTS, "default", resource_version=start):
        seen.append("deployment.kubernetes.io/revision" in (event.object["metadata"].get("annotations") or {}))
        if event.object["status"].get("availableReplicas") == 1:
            break
    assert seen == sorted(seen)  # once there, it stays


async def test_a_replica_set_that_may_not_be_made_is_told(cluster: Any) -> None:
    quota = {"metadata": {"name": "none", "namespace": "default"}, "spec": {"hard": {"count/replicasets.apps": "0"}}}
    await cluster.client.create(QUOTAS, quota)
    await cluster.until(QUOTAS, "none", lambda one: "hard" in one.get("status", {}))
    await cluster.deploy("web", 1)
    refused = await cluster.until(DEPLOYMENTS, "web", lambda d: condition(d, "Progressing")["status"] == "False")
    told = condition(refused, "Progressing")
    assert told["reason"] == "ReplicaSetCreateError"
    assert told["message"].startswith('Failed to create new replica set "web-')
    assert "exceeded quota: none" in told["message"]
    assert (await cluster.event("ReplicaSetCreateError"))["type"] == "Warning"
    await cluster.client.delete(QUOTAS, "none", "default")
    await cluster.rolled_out("web")


async def test_one_that_is_scaled_with_a_new_template_grows_before_it_rolls(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    template = {"spec": {"containers": [{"name": "c", "image": "two"}]}}
    change = {"spec": {"replicas": 8, "template": template}}
    await cluster.client.patch(DEPLOYMENTS, "web", change, "default", type="strategic")
    await cluster.rolled_out("web")
    told = [one["message"] for one in await cluster.until_all(EVENTS, lambda all: len(scalings(all)) >= 4)]
    old, new = (rs["metadata"]["name"] for rs in sorted(await cluster.replica_sets("web"), key=revision))
    assert f"Scaled up replica set {old} from 2 to 8" in told
    assert f"Scaled up replica set {new} from 0 to 2" in told


def scalings(events: list[Object]) -> list[Object]:
    return [event for event in events if event["reason"] == "ScalingReplicaSet"]


async def test_one_that_waits_for_what_it_owns_to_go_tells_how_far_that_is(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    (pod, _) = await cluster.pods("web")
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    await cluster.client.patch(PODS, pod["metadata"]["name"], held, "default")
    await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation_policy="Foreground")
    going = await cluster.until(DEPLOYMENTS, "web", lambda d: "replicas" not in d["status"])
    assert "availableReplicas" not in going["status"]
    await cluster.client.patch(PODS, pod["metadata"]["name"], {"metadata": {"finalizers": None}}, "default")
    await cluster.gone(DEPLOYMENTS, "web")


async def test_pods_that_may_not_be_deleted_are_told(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"]}
    refusing = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "they stay"}],
    }
    await cluster.client.create(POLICIES, {"metadata": {"name": "stay"}, "spec": refusing})
    bound = {"policyName": "stay", "validationActions": ["Deny"]}
    await cluster.client.create(BINDINGS, {"metadata": {"name": "stay"}, "spec": bound})
    await refused(cluster)
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")
    told = await cluster.until(DEPLOYMENTS, "web", lambda d: condition(d, "ReplicaFailure")["status"] == "True")
    assert condition(told, "ReplicaFailure")["reason"] == "FailedDelete"
    assert "they stay" in condition(told, "ReplicaFailure")["message"]
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}}, "default")
    await cluster.until(DEPLOYMENTS, "web", lambda d: not condition(d, "ReplicaFailure")["status"])


async def refused(cluster: Any) -> None:
    """Return once nobody may delete a pod."""
    spec = {"containers": [{"name": "c", "image": "i"}], "schedulingGates": [{"name": "example.com/never"}]}
    async with asyncio.timeout(60):
        while True:
            await cluster.client.create(PODS, {"metadata": {"name": "probe", "namespace": "default"}, "spec": spec})
            try:
                await cluster.client.delete(PODS, "probe", "default", grace_period_seconds=0)
            except ApiError:
                return
            await asyncio.sleep(0)
