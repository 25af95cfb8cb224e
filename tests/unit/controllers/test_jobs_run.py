"""Jobs on the real in-process API with a simulated node."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import JOBS, PODS
from sampan.controllers import job_view
from sampan.controllers.job_indexes import INDEX
from sampan.controllers.resource_quota import QUOTAS
from sampan.schema.objects import Object


def job(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**spec, "template": {"metadata": {"annotations": annotations or {}}, "spec": pod}},
    }


def has(type: str) -> Any:
    return lambda obj: any(
        c["type"] == type and c["status"] == "True" for c in obj.get("status", {}).get("conditions") or ()
    )


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_view, "FIRST_BACKOFF_SECONDS", 0.01)


async def test_completions_are_reached_with_limited_parallelism(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("count", completions=5, parallelism=2))
    done = await cluster.until(JOBS, "count", has("Complete"))
    assert done["status"]["succeeded"] == 5
    assert done["status"]["completionTime"] >= done["status"]["startTime"]
    assert "active" not in done["status"]
    pods = (await cluster.client.list(PODS, "default", label_selector="job-name=count")).items
    assert len(pods) == 5
    assert (await cluster.event("Completed"))["message"] == "Job completed"


async def test_indexes_each_succeed_once(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("each", completions=4, parallelism=4, completionMode="Indexed"))
    done = await cluster.until(JOBS, "each", has("Complete"))
    assert done["status"]["completedIndexes"] == "0-3"
    pods = (await cluster.client.list(PODS, "default", label_selector="job-name=each")).items
    assert {pod["metadata"]["annotations"][INDEX] for pod in pods} == {"0", "1", "2", "3"}
    assert {pod["spec"]["hostname"] for pod in pods} == {"each-0", "each-1", "each-2", "each-3"}


async def test_failures_up_to_the_limit(cluster: Any, no_backoff: None) -> None:
    await cluster.client.create(JOBS, job("bad", {"sim.sampan.dev/exit-code": "3"}, backoffLimit=2))
    failed = await cluster.until(JOBS, "bad", has("Failed"))
    assert failed["status"]["failed"] == 3
    condition = next(c for c in failed["status"]["conditions"] if c["type"] == "Failed")
    assert condition["reason"] == "BackoffLimitExceeded"
    assert (await cluster.event("BackoffLimitExceeded"))["type"] == "Warning"


async def test_too_long(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("long", {"sim.sampan.dev/run-seconds": "3600"}, activeDeadlineSeconds=1))
    failed = await cluster.until(JOBS, "long", has("Failed"))
    condition = next(c for c in failed["status"]["conditions"] if c["type"] == "Failed")
    assert condition["reason"] == "DeadlineExceeded"
    await cluster.until_all(PODS, lambda pods: not pods)


async def test_suspended_and_resumed(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("later", suspend=True))
    waiting = await cluster.until(JOBS, "later", has("Suspended"))
    assert "startTime" not in waiting["status"]
    assert not (await cluster.client.list(PODS, "default")).items
    await cluster.client.patch(JOBS, "later", {"spec": {"suspend": False}}, "default")
    await cluster.until(JOBS, "later", has("Complete"))
    await cluster.event("Resumed")


async def test_a_finished_job_goes_with_its_pods_after_its_time(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("brief", ttlSecondsAfterFinished=0))
    await cluster.gone(JOBS, "brief")
    await cluster.until_all(PODS, lambda pods: not pods)


async def test_a_pod_that_was_deleted_while_running_is_made_again(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("again", {"sim.sampan.dev/run-seconds": "0.3"}))
    (pod,) = await cluster.until_all(PODS, lambda pods: pods and pods[0].get("status", {}).get("phase") == "Running")
    await cluster.client.delete(PODS, pod["metadata"]["name"], "default")
    done = await cluster.until(JOBS, "again", has("Complete"))
    assert done["status"]["succeeded"] == 1


async def test_a_job_whose_pods_are_refused_has_begun_and_meets_its_deadline(cluster: Any) -> None:
    quota = {"metadata": {"name": "none", "namespace": "default"}, "spec": {"hard": {"pods": "0"}}}
    await cluster.client.create(QUOTAS, {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    await cluster.until(QUOTAS, "none", lambda q: "used" in q.get("status", {}))
    await cluster.client.create(JOBS, job("barred", activeDeadlineSeconds=1))
    failed = await cluster.until(JOBS, "barred", has("Failed"))
    condition = next(c for c in failed["status"]["conditions"] if c["type"] == "Failed")
    assert condition["reason"] == "DeadlineExceeded"
    assert failed["status"]["startTime"]
