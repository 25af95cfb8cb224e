"""StatefulSets: the order in which pods come, go and are replaced; names, claims, history."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from sampan.controllers import stateful_set_plan as plan
from sampan.controllers.resource_quota import QUOTAS
from sampan.schema.objects import Object

OLD, NEW = {"metadata": {"name": "db-old"}}, {"metadata": {"name": "db-new"}}


def stateful_set(replicas: int = 3, **spec: Any) -> Object:
    labels = {"app": "db"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": template,
            **spec,
        },
    }


def pod(ordinal: int, *, ready: bool = True, phase: str = "Running", revision: Object = NEW, **metadata: Any) -> Object:
    labels = {"controller-revision-hash": revision["metadata"]["name"]}
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": f"db-{ordinal}", "labels": labels, **metadata}, "status": status}


def doing(wanted: Object, *pods: Object) -> tuple[list[int], list[str]]:
    found = plan.desired(wanted, {int(p["metadata"]["name"][3:]): p for p in pods}, OLD, NEW)
    return [ordinal for ordinal, _ in found.create], [p["metadata"]["name"] for p in found.delete]


GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("pods", "ordered", "parallel"),
    [
        ([], ([0], []), ([0, 1, 2], [])),
        ([pod(0, ready=False)], ([], []), ([1, 2], [])),
        ([pod(0)], ([1], []), ([1, 2], [])),
        ([pod(0), pod(2)], ([1], []), ([1], [])),
        ([pod(0, phase="Failed"), pod(1), pod(2)], ([], ["db-0"]), ([], ["db-0"])),
        ([pod(0), pod(1), pod(2), pod(3), pod(4)], ([], ["db-4"]), ([], ["db-4", "db-3"])),
        ([pod(0), pod(1), pod(2), pod(3), pod(4, **GOING)], ([], []), ([], ["db-3"])),
        ([pod(0), pod(1), pod(2), pod(3), pod(4, ready=False)], ([], ["db-4"]), ([], ["db-4", "db-3"])),
        ([pod(0), pod(1), pod(2), pod(3, ready=False), pod(4)], ([], ["db-4"]), ([], ["db-4", "db-3"])),
    ],
)
def test_pods_come_and_go_in_order(pods: list[Object], ordered: Any, parallel: Any) -> None:
    assert doing(stateful_set(), *pods) == ordered
    assert doing(stateful_set(podManagementPolicy="Parallel"), *pods) == parallel


def test_updates_go_from_the_highest_to_the_partition() -> None:
    old = [pod(n, revision=OLD) for n in range(3)]
    assert doing(stateful_set(), *old) == ([], ["db-2"])
    assert doing(stateful_set(), *old[:2], pod(2, ready=False)) == ([], [])
    assert doing(stateful_set(), *old[:2], pod(2)) == ([], ["db-1"])
    rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    assert doing(stateful_set(**rolling), *old[:2], pod(2)) == ([], [])
    assert doing(stateful_set(updateStrategy={"type": "OnDelete"}), *old) == ([], [])
    two = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}}
    assert doing(stateful_set(**two), *old) == ([], ["db-2", "db-1"])
    kept = plan.desired(stateful_set(**rolling), {1: old[1], 2: pod(2)}, OLD, NEW).create
    assert kept == [(0, OLD)]


def test_a_parallel_update_begins_with_those_that_are_down() -> None:
    lame = [pod(0, ready=False, revision=OLD), pod(1, revision=OLD), pod(2, revision=OLD)]
    parallel = {"podManagementPolicy": "Parallel"}
    assert doing(stateful_set(**parallel), *lame) == ([], ["db-0"])
    rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "67%"}}}
    assert doing(stateful_set(**parallel, **rolling), *lame) == ([], ["db-0", "db-2"]), "67% of 3 is 2"
    assert doing(stateful_set(**rolling), *[pod(n, revision=OLD) for n in range(3)]) == ([], ["db-2", "db-1"])
    rolling["updateStrategy"]["rollingUpdate"] = {"maxUnavailable": "10%", "partition": 1}
    assert doing(stateful_set(**parallel, **rolling), *lame) == ([], []), "one below the partition is down"


def test_pods_that_have_ended_are_still_there() -> None:
    found = plan.status_of(stateful_set(), [pod(0), pod(1), pod(2, phase="Failed", ready=False)], OLD, NEW, 0)
    assert (found["replicas"], found["readyReplicas"], found["updatedReplicas"]) == (3, 2, 3)
    assert found["currentRevision"] == "db-old"


@pytest.mark.parametrize("kind", ["RollingUpdate", "OnDelete"])
def test_a_rollout_is_over_when_all_pods_are_new(kind: str) -> None:
    wanted = stateful_set(updateStrategy={"type": kind})
    mixed = plan.status_of(wanted, [pod(0, revision=OLD), pod(1), pod(2)], OLD, NEW, 0)
    assert (mixed["currentRevision"], mixed["currentReplicas"], mixed["updatedReplicas"]) == ("db-old", 1, 2)
    over = plan.status_of(wanted, [pod(0), pod(1), pod(2)], OLD, NEW, 0)
    assert (over["currentRevision"], over["currentReplicas"], over["updatedReplicas"]) == ("db-new", 3, 3)


async def test_pods_go_although_others_cannot_be_made(cluster: Any) -> None:
    """A quota keeps a pod of a parallel StatefulSet from coming back: it shrinks all the same (kubernetes #141057)."""
    await cluster.client.create(STATEFUL_SETS, stateful_set(4, podManagementPolicy="Parallel"))
    await until_ready(cluster, 4)
    metadata = {"name": "none", "namespace": "default"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "1"}}}
    await cluster.client.create(QUOTAS, quota)
    await cluster.until(QUOTAS, "none", lambda obj: obj.get("status", {}).get("hard"))
    await cluster.client.delete(PODS, "db-0", "default")
    await cluster.event("FailedCreate")
    await cluster.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 2}}, "default")
    await cluster.gone(PODS, "db-3")
    await cluster.gone(PODS, "db-2")


def test_ordinals_can_begin_later_and_names_must_be_exact() -> None:
    wanted = stateful_set(2, ordinals={"start": 5})
    assert list(plan.ordinals(wanted)) == [5, 6]
    names = {"db-5": 5, "db-05": None, "db-x": None, "dbx-5": None, "db-0": 0}
    assert {name: plan.ordinal_of(wanted, {"metadata": {"name": name}}) for name in names} == names


async def until_ready(cluster: Any, count: int) -> Object:
    def ready(found: Object) -> bool:
        status = found.get("status", {})
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return seen and status.get("readyReplicas") == status.get("updatedReplicas") == status["replicas"] == count

    return dict(await cluster.until(STATEFUL_SETS, "db", ready))


async def test_a_stateful_set_lives(cluster: Any) -> None:
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    retention = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    wanted = stateful_set(
        volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": size}],
        persistentVolumeClaimRetentionPolicy=retention,
    )
    await cluster.client.create(STATEFUL_SETS, wanted)
    found = await until_ready(cluster, 3)
    pods = {p["metadata"]["name"]: p for p in await cluster.pods("db")}
    assert sorted(pods) == ["db-0", "db-1", "db-2"]
    last = pods["db-2"]
    assert (last["spec"]["hostname"], last["spec"]["subdomain"]) == ("db-2", "db")
    assert last["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}
    assert volume in last["spec"]["volumes"]
    claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data-db-2", "default")
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    created = [p["metadata"]["creationTimestamp"] for _, p in sorted(pods.items())]
    assert created == sorted(created)

    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(STATEFUL_SETS, "db", image, "default", type="strategic")
    updated = await cluster.until(
        STATEFUL_SETS,
        "db",
        lambda s: (
            s["status"]["currentRevision"] != found["status"]["currentRevision"]
            and s["status"].get("readyReplicas") == 3
        ),
    )
    assert updated["status"]["currentRevision"] == updated["status"]["updateRevision"]
    assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods("db")} == {"two"}
    history = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    assert sorted(r["revision"] for r in history) == [1, 2]

    await cluster.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, "default")
    await until_ready(cluster, 1)
    assert [p["metadata"]["name"] for p in await cluster.pods("db")] == ["db-0"]
    assert await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data-db-2", "default")  # kept: only whenDeleted
    await cluster.client.delete(STATEFUL_SETS, "db", "default")
    await cluster.gone(PODS, "db-0")


async def test_the_history_of_a_set_deleted_without_its_pods_is_its_successors(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, stateful_set(1))
    await until_ready(cluster, 1)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(STATEFUL_SETS, "db", image, "default", type="strategic")
    before = await until_ready(cluster, 1)
    await cluster.client.delete(STATEFUL_SETS, "db", "default", propagation_policy="Orphan")
    await cluster.gone(STATEFUL_SETS, "db")

    after = await cluster.client.create(STATEFUL_SETS, stateful_set(1))
    await until_ready(cluster, 1)
    history = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    owners = [[o["uid"] for o in r["metadata"].get("ownerReferences") or ()] for r in history]
    assert owners == [[after["metadata"]["uid"]]] * 2 != [[before["metadata"]["uid"]]] * 2
    assert sorted(r["revision"] for r in history) == [2, 3]


async def test_pods_get_back_what_they_are_found_by_and_claims_that_they_wait_for(cluster: Any) -> None:
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": ""}
    wanted = stateful_set(1, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": size}])
    await cluster.client.create(STATEFUL_SETS, wanted)
    await cluster.until(PODS, "db-0", lambda pod: pod["status"]["phase"] == "Pending")
    first = await cluster.until(
        PERSISTENT_VOLUME_CLAIMS, "data-db-0", lambda claim: claim["metadata"].get("finalizers")
    )
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data-db-0", "default")
    gone = {"metadata": {"finalizers": None}}
    await cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, "data-db-0", gone, "default")
    without = {"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": None}}}
    await cluster.client.patch(PODS, "db-0", without, "default")
    await cluster.until(PODS, "db-0", lambda pod: pod["metadata"]["labels"].get(plan.POD_NAME) == "db-0")
    uid = first["metadata"]["uid"]
    await cluster.until(PERSISTENT_VOLUME_CLAIMS, "data-db-0", lambda claim: claim["metadata"]["uid"] != uid)


async def test_one_that_waits_for_its_pods_to_go_tells_how_far_that_is(cluster: Any) -> None:
    await cluster.client.create(STATEFUL_SETS, stateful_set(1))
    await until_ready(cluster, 1)
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    await cluster.client.patch(STATEFUL_SETS, "db", held, "default")
    await cluster.client.delete(STATEFUL_SETS, "db", "default")
    await cluster.client.delete(PODS, "db-0", "default")
    going = await cluster.until(STATEFUL_SETS, "db", lambda one: one["status"]["replicas"] == 0)
    assert going["status"]["currentRevision"]
    await cluster.client.patch(STATEFUL_SETS, "db", {"metadata": {"finalizers": None}}, "default")
    await cluster.gone(STATEFUL_SETS, "db")
