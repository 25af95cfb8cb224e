"""CronJobs: what is due when, and what becomes of it on the real API."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.client.resources import CRON_JOBS, JOBS
from sampan.controllers.cron_job import due, job_for, stamp, superfluous
from sampan.schema.objects import Object
from tests.unit.controllers.conftest import Clock

NOON = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)


def cron_job(schedule: str = "0 * * * *", last: datetime | None = None, **spec: Any) -> Object:
    template = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]},
        "metadata": {"annotations": {"sim.sampan.dev/run-seconds": "100"}},
    }
    made: Object = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {
            "schedule": schedule,
            "jobTemplate": {"metadata": {"labels": {"made": "by"}}, "spec": {"template": template}},
            **spec,
        },
    }
    if last is not None:
        made["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "1"}
        made["status"] = {"lastScheduleTime": stamp(last)}
    return made


@pytest.mark.parametrize(
    ("spec", "last", "time"),
    [
        ({}, NOON - timedelta(minutes=70), datetime(2026, 5, 4, 12, tzinfo=UTC)),
        ({}, NOON - timedelta(seconds=30), None),
        ({"startingDeadlineSeconds": 20}, NOON - timedelta(minutes=70), None),
        ({"startingDeadlineSeconds": 40}, NOON - timedelta(minutes=70), datetime(2026, 5, 4, 12, tzinfo=UTC)),
        ({"timeZone": "Asia/Kolkata"}, NOON - timedelta(minutes=70), datetime(2026, 5, 4, 11, 30, tzinfo=UTC)),
    ],
)
def test_what_is_due(spec: Object, last: datetime, time: datetime | None) -> None:
    found = due(cron_job(last=last, **spec), NOON)
    assert found.time == time and not found.many_missed
    assert found.next is not None and found.next > NOON


def test_the_newest_of_many_missed_times_is_made_up_for() -> None:
    found = due(cron_job("* * * * *", last=NOON - timedelta(days=3)), NOON)
    assert found.time == NOON.replace(second=0) and found.many_missed


def test_the_job_of_a_time() -> None:
    job = job_for(cron_job(last=NOON), NOON.replace(second=0))
    assert job["metadata"]["name"] == f"tick-{int(NOON.timestamp()) // 60}"
    assert job["metadata"]["labels"] == {"made": "by"}
    assert job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].startswith(
        "2026-05-04T12:00"
    )


def test_old_jobs_go() -> None:
    def job(number: int, type: str) -> Object:
        status = {"startTime": f"2026-01-0{number}T00:00:00Z", "conditions": [{"type": type, "status": "True"}]}
        return {"metadata": {"name": f"{type}-{number}"}, "status": status}

    jobs = [job(n, type) for n in range(1, 6) for type in ("Complete", "Failed")]
    gone = {j["metadata"]["name"] for j in superfluous(cron_job(successfulJobsHistoryLimit=2), jobs)}
    assert gone == {"Complete-1", "Complete-2", "Complete-3", "Failed-1", "Failed-2", "Failed-3", "Failed-4"}


@pytest.mark.parametrize(("policy", "events"), [("Forbid", "JobAlreadyActive"), ("Replace", "SuccessfulDelete")])
async def test_a_job_that_still_runs(cluster: Any, policy: str, events: str) -> None:
    await cluster.client.create(CRON_JOBS, cron_job("@every 1s", concurrencyPolicy=policy))
    await cluster.event("SuccessfulCreate")
    found = await cluster.until(CRON_JOBS, "tick", lambda c: c.get("status", {}).get("active"))
    (job,) = await cluster.until_all(JOBS, lambda jobs: len(jobs) == 1)
    assert found["status"]["active"][0]["name"].startswith("tick-") and found["status"]["lastScheduleTime"]
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    await cluster.event(events)


async def test_jobs_run_beside_each_other_where_that_is_allowed(cluster: Any, clock: Clock) -> None:
    await cluster.client.create(CRON_JOBS, cron_job("@every 1s", concurrencyPolicy="Allow"))
    await cluster.event("SuccessfulCreate")
    clock.jump(60)  # a Job is named by the minute of its time
    found = await cluster.until(CRON_JOBS, "tick", lambda c: len(c.get("status", {}).get("active") or ()) >= 2)
    running = {job["metadata"]["uid"] for job in (await cluster.client.list(JOBS, "default")).items}
    assert {entry["uid"] for entry in found["status"]["active"]} <= running


async def test_a_suspended_schedule_starts_nothing(cluster: Any) -> None:
    await cluster.client.create(CRON_JOBS, cron_job("@every 1s", suspend=True))
    await cluster.client.create(
        CRON_JOBS, {**cron_job("@every 1s"), "metadata": {"name": "other", "namespace": "default"}}
    )
    await cluster.event("SuccessfulCreate")
    assert not [
        j for j in (await cluster.client.list(JOBS, "default")).items if j["metadata"]["name"].startswith("tick")
    ]


async def test_a_job_that_somebody_started_by_hand_holds_nothing_up(cluster: Any) -> None:
    """``kubectl create job --from=cronjob/tick``."""
    made = await cluster.client.create(CRON_JOBS, cron_job("@every 1s", suspend=True, concurrencyPolicy="Forbid"))
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": made["metadata"]["uid"]}
    metadata = {
        "name": "by-hand",
        "namespace": "default",
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        "ownerReferences": [{**owner, "controller": True}],
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": made["spec"]["jobTemplate"]["spec"]}
    await cluster.client.create(JOBS, job)
    told = await cluster.event("UnexpectedJob")
    assert told["message"] == "Saw a job that the controller did not create or forgot: by-hand"
    await cluster.client.patch(CRON_JOBS, "tick", {"spec": {"suspend": False}}, "default")
    found = await cluster.until(CRON_JOBS, "tick", lambda c: c.get("status", {}).get("active"))
    assert [entry["name"].startswith("tick-") for entry in found["status"]["active"]] == [True]


async def test_a_job_of_somebody_else_is_not_taken_for_ones_own(cluster: Any, clock: Clock) -> None:
    spec = cron_job()["spec"]["jobTemplate"]["spec"]
    minute = int(time.time()) // 60
    taken = {f"tick-{minute + more}" for more in (0, 1)}
    for name in taken:
        await cluster.client.create(JOBS, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    await cluster.client.create(CRON_JOBS, cron_job("@every 1s"))
    clock.jump(120)
    found = await cluster.until(CRON_JOBS, "tick", lambda c: c.get("status", {}).get("active"))
    assert not taken & {entry["name"] for entry in found["status"]["active"]}


async def test_a_day_that_never_comes_is_told(cluster: Any) -> None:
    await cluster.client.create(CRON_JOBS, cron_job("59 23 31 2 *"))
    told = await cluster.event("InvalidSchedule")
    assert told["message"].startswith("invalid schedule: 59 23 31 2 * : ")


async def test_one_that_waits_to_go_starts_nothing_and_tells_what_runs(cluster: Any) -> None:
    await cluster.client.create(CRON_JOBS, cron_job("@every 1s", concurrencyPolicy="Forbid"))
    found = await cluster.until(CRON_JOBS, "tick", lambda c: c.get("status", {}).get("active"))
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    await cluster.client.patch(CRON_JOBS, "tick", held, "default")
    await cluster.client.delete(CRON_JOBS, "tick", "default")
    name = found["status"]["active"][0]["name"]
    await cluster.client.delete(JOBS, name, "default", propagation_policy="Background")
    going = await cluster.until(CRON_JOBS, "tick", lambda c: not c["status"].get("active"))
    assert "deletionTimestamp" in going["metadata"]
    await cluster.client.patch(CRON_JOBS, "tick", {"metadata": {"finalizers": None}}, "default")
    await cluster.gone(CRON_JOBS, "tick")
