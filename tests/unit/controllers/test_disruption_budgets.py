"""How much disruption a budget allows: the arithmetic, and the status as evictions meet it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.errors import ApiError
from sampan.client.resources import POD_DISRUPTION_BUDGETS, PODS, REPLICATION_CONTROLLERS
from sampan.controllers.disruption import counted, expected, still_disrupted
from sampan.controllers.stale_disruptions import seconds_until_stale
from sampan.schema.objects import Object


def budget(name: str = "b", status: Object | None = None, **spec: Any) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default", "generation": 3},
        "spec": {"selector": selector, **spec},
        "status": status or {},
    }


def pod(name: str, *, ready: bool = True, **metadata: Any) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name, **metadata}, "status": {"phase": "Running", "conditions": conditions}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"minAvailable": 2}, (3, 2)),
        ({"minAvailable": "50%"}, (5, 3)),
        ({"maxUnavailable": 1}, (5, 4)),
        ({"maxUnavailable": "30%"}, (5, 3)),
        ({"maxUnavailable": 9}, (5, 0)),
    ],
)
def test_what_is_expected_of_three_pods_of_a_workload_of_five(spec: Object, wanted: tuple[int, int]) -> None:
    assert expected(budget(**spec), [pod(name) for name in "abc"], 5) == wanted


def test_pods_that_end_or_are_being_evicted_are_not_healthy() -> None:
    noted = {
        "disruptedPods": {"c": "2999-01-01T00:00:00Z", "gone": "2999-01-01T00:00:00Z", "a": "2001-01-01T00:00:00Z"}
    }
    pods = [pod("a"), pod("b"), pod("c"), pod("d", ready=False), pod("e", deletionTimestamp="2026-01-01T00:00:00Z")]
    status = counted(budget(status=noted, minAvailable=1), pods, 0)
    assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == (2, 1, 1)
    assert status["disruptedPods"] == {"c": "2999-01-01T00:00:00Z"} == still_disrupted(budget(status=noted), pods)
    assert status["conditions"][0]["reason"] == "SufficientPods" and status["observedGeneration"] == 3


def test_nothing_may_be_disrupted_where_nothing_runs() -> None:
    assert counted(budget(maxUnavailable=1), [], 0)["disruptionsAllowed"] == 0


async def test_evictions_stop_where_the_budget_ends(cluster: Any) -> None:
    await cluster.deploy("web", 3)
    await cluster.rolled_out("web")
    wanted = budget(maxUnavailable=1)
    del wanted["status"]
    await cluster.client.create(POD_DISRUPTION_BUDGETS, wanted)
    found = await cluster.until(
        POD_DISRUPTION_BUDGETS, "b", lambda b: b.get("status", {}).get("disruptionsAllowed") == 1
    )
    assert (found["status"]["expectedPods"], found["status"]["desiredHealthy"]) == (3, 2)
    names = [p["metadata"]["name"] for p in await cluster.pods("web")]

    async def evict(name: str) -> None:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
        await cluster.client.create(PODS, eviction, "default", subresource="eviction", name=name)

    await evict(names[0])
    with pytest.raises(ApiError) as refused:
        await evict(names[1])
    assert refused.value.status["code"] == 429 and "disruption budget" in refused.value.status["message"]
    await cluster.until(POD_DISRUPTION_BUDGETS, "b", lambda b: b["status"]["disruptionsAllowed"] == 1)


async def test_a_replication_controller_keeps_its_pods(cluster: Any) -> None:
    labels = {"app": "old"}
    spec = {"containers": [{"name": "c", "image": "one"}]}
    made = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "old", "namespace": "default"},
        "spec": {"replicas": 2, "selector": labels, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    await cluster.client.create(REPLICATION_CONTROLLERS, made)
    await cluster.until(REPLICATION_CONTROLLERS, "old", lambda rc: rc.get("status", {}).get("readyReplicas") == 2)
    first = (await cluster.pods("old"))[0]
    assert first["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController"
    await cluster.client.delete(PODS, first["metadata"]["name"], "default")
    await cluster.until_all(
        PODS, lambda pods: len([p for p in pods if p["metadata"]["uid"] != first["metadata"]["uid"]]) == 2
    )


def target(reason: str, since: str) -> Object:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": since}


async def test_the_word_of_an_end_that_never_came_is_taken_back(cluster: Any) -> None:
    await cluster.deploy("web", 2)
    await cluster.rolled_out("web")
    first, second = await cluster.pods("web")
    for one, reason in ((second, "TerminationByKubelet"), (first, "EvictionByEvictionAPI")):
        told = target(reason, "2001-01-01T00:00:00Z")
        status = {"status": {"conditions": [*one["status"]["conditions"], told]}}
        await cluster.client.patch(PODS, one["metadata"]["name"], status, "default", subresource="status")

    def now(pod: Object) -> str:
        return next((c["status"] for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"), "")

    await cluster.until(PODS, first["metadata"]["name"], lambda pod: now(pod) == "False")
    assert now(await cluster.client.get(PODS, second["metadata"]["name"], "default")) == "True"


def test_when_the_word_of_an_end_is_stale() -> None:
    fresh = pod("a") | {"status": {"conditions": [target("EvictionByEvictionAPI", "2999-01-01T00:00:00Z")]}}
    assert (seconds_until_stale(fresh) or 0) > 120
    assert seconds_until_stale(pod("a")) is None
    assert seconds_until_stale({**fresh, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}) is None
    assert seconds_until_stale({**fresh, "status": {**fresh["status"], "phase": "Failed"}}) is None


async def test_pods_that_nobody_manages_and_those_that_stay_are_told(cluster: Any) -> None:
    lone = {"containers": [{"name": "c", "image": "one"}]}
    await cluster.client.create(
        PODS, {"metadata": {"name": "a", "namespace": "default", "labels": {"app": "web"}}, "spec": lone}
    )
    wanted = budget(maxUnavailable=1)
    del wanted["status"]
    await cluster.client.create(POD_DISRUPTION_BUDGETS, wanted)
    told = await cluster.event("UnmanagedPods")
    assert told["message"].endswith('please set ".spec.minAvailable" field of the PDB to an integer value.')
    stayed = {"status": {"disruptedPods": {"a": "2001-01-01T00:00:00Z"}}}
    await cluster.client.patch(POD_DISRUPTION_BUDGETS, "b", stayed, "default", subresource="status")
    assert (await cluster.event("NotDeleted"))[
        "message"
    ] == "Pod was expected by PDB default/b to be deleted but it wasn't"
