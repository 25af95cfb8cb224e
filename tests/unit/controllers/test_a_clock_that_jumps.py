"""The wall clock of the host jumps, forth and back by hours: nothing is doubled, nobody is evicted, rollouts go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.client.resources import DEPLOYMENTS, JOBS, NODES, PODS
from sampan.controllers.cron_job import due, stamp
from sampan.schema.objects import Object
from tests.unit.controllers.conftest import Clock

HOUR = 3600.0
MODULES = (
    "sampan.controllers.",
    "sampan.scheduler.",
    "sampan.client.",
    "sampan.schema.",
    "sampan.api.",
    "sampan.simulation.",
)


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


async def test_pods_and_nodes_stay_and_rollouts_go_on(cluster: Any, clock: Clock) -> None:
    await cluster.deploy("web", 3)
    await cluster.rolled_out("web")
    first = uids(await cluster.pods("web"))
    for replicas, jump in ((4, 10 * HOUR), (5, -20 * HOUR), (6, 11 * HOUR)):
        clock.jump(jump)
        await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": replicas}}, "default")
        await cluster.rolled_out("web")
        pods = await cluster.pods("web")
        assert first <= uids(pods) and len(pods) == replicas
        node = await cluster.client.get(NODES, "sim")
        ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
        assert ready["status"] == "True" and not node["spec"].get("taints")
    # a rollout whose deadline passed on the clock only is looked at by what its pods do
    clock.jump(100 * HOUR)
    two = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", two, "default", type="strategic")
    done = await cluster.rolled_out("web")
    progressing = next(one for one in done["status"]["conditions"] if one["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")


async def test_a_job_is_finished_once_and_goes_when_its_time_is_over(cluster: Any, clock: Clock) -> None:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    spec = {"completions": 3, "parallelism": 1, "ttlSecondsAfterFinished": 7200, "template": pod}
    metadata = {"name": "work", "namespace": "default"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    await cluster.client.create(JOBS, job)
    clock.jump(-5 * HOUR)
    await cluster.until(JOBS, "work", lambda one: one.get("status", {}).get("succeeded", 0) >= 1)
    clock.jump(5 * HOUR)
    done = await cluster.until(JOBS, "work", lambda one: one["status"].get("completionTime"))
    assert done["status"]["succeeded"] == 3 and len((await cluster.client.list(PODS, "default")).items) == 3
    clock.jump(-10 * HOUR)
    await cluster.client.patch(JOBS, "work", {"metadata": {"labels": {"looked": "at"}}}, "default")
    await cluster.until(JOBS, "work", lambda one: one["metadata"].get("labels", {}).get("looked"))
    clock.jump(20 * HOUR)
    await cluster.client.patch(JOBS, "work", {"metadata": {"labels": {"looked": "again"}}}, "default")
    await cluster.gone(JOBS, "work")


NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@settings(max_examples=30)
@given(jumps=st.lists(st.integers(-5000, 5000), max_size=20))
def test_each_time_of_a_schedule_is_started_at_most_once(jumps: list[int]) -> None:
    """Whatever the clock says: a Job's time is after that of the Job before, and never in the clock's future."""
    spec = {"schedule": "*/7 * * * *", "jobTemplate": {"spec": {}}}
    tick: Object = {"metadata": {"name": "tick", "creationTimestamp": stamp(NOON)}, "spec": spec, "status": {}}
    now, started = NOON, list[datetime]()
    for jump in jumps:
        now += timedelta(seconds=jump)
        found = due(tick, now)
        if found.time is not None:
            assert found.time <= now
            started.append(found.time)
            tick["status"]["lastScheduleTime"] = stamp(found.time)
        assert found.next is None or found.next > now
    assert started == sorted(set(started))
