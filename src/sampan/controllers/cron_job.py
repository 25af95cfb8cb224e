"""CronJob: a Job at every time of its schedule, as its policies let it.

``due`` is pure: which time is to be run now. Times missed while nobody looked are made up for once, by the newest of them.
Source: batch/v1 CronJob, the second CronJob controller (KEP-19), KEP-3140 (time zones).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import CRON_JOBS, JOBS
from sampan.controllers.job_view import is_finished
from sampan.controllers.ownership import (
    BY_OWNER,
    condition_of,
    controller_of,
    controller_uid,
    owned_by,
    owner_keys,
    owner_reference,
)
from sampan.schema import cron
from sampan.schema.objects import Object

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100


class Due(NamedTuple):
    """What a schedule says now: the time to run (None: nothing is due), whether many were missed, and the next time."""

    time: datetime | None
    many_missed: bool
    next: datetime | None


def due(cron_job: Object, now: datetime) -> Due:
    """Return what is due at ``now``. Raises ``CronError``."""
    spec = cron_job["spec"]
    schedule = cron.parse(spec["schedule"])
    here = now.astimezone(zone(spec.get("timeZone") or schedule.time_zone))
    last = cron_job.get("status", {}).get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    begin = moment_of(last).astimezone(here.tzinfo)
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        begin = max(begin, here - timedelta(seconds=deadline))
    time = cron.last_until(schedule, here, begin)
    return Due(time, time is not None and _many(schedule, begin, time), cron.next_after(schedule, here))


def zone(name: str | None) -> tzinfo:
    """Return a time zone by its name, UTC for none. Raises ``CronError``."""
    if not name:
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # few ask for one

    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise cron.CronError(str(error)) from error


def _many(schedule: cron.Schedule, begin: datetime, end: datetime) -> bool:
    moment: datetime | None = begin
    for _ in range(MANY_MISSED + 1):
        moment = cron.next_after(schedule, moment) if moment else None
        if moment is None or moment > end:
            return False
    return True


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def job_for(cron_job: Object, time: datetime) -> Object:
    """Return the Job of a time of the schedule; its name is the CronJob's with the minutes since 1970."""
    template, metadata = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    given = template.get("metadata") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(time.timestamp()) // 60}",
            "namespace": metadata["namespace"],
            "labels": dict(given.get("labels") or {}),
            "annotations": {**(given.get("annotations") or {}), SCHEDULED: time.isoformat()},
            "ownerReferences": [owner_reference(cron_job, CRON_JOBS)],
        },
        "spec": template["spec"],
    }


def reference(job: Object) -> Object:
    metadata = job["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def superfluous(cron_job: Object, jobs: list[Object]) -> list[Object]:
    """Return the finished Jobs beyond the history limits, oldest first."""
    spec, found = cron_job["spec"], []
    ended = sorted((job for job in jobs if is_finished(job)), key=_begun)
    for type, limit in (
        ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
        ("Failed", spec.get("failedJobsHistoryLimit", 1)),
    ):
        of_type = [job for job in ended if (condition_of(job, type) or {}).get("status") == "True"]
        found += of_type[: max(len(of_type) - limit, 0)]
    return found


def _begun(job: Object) -> tuple[str, str]:
    """Those that never began come last."""
    return job["status"].get("startTime", "~"), job["metadata"]["name"]


class CronJobController(Controller):
    name = "cronjob-controller"

    def __init__(self, client: Client, cron_jobs: Informer, jobs: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.cron_jobs, self.jobs, self.events = cron_jobs, jobs, events
        jobs.add_index(BY_OWNER, controller_uid)
        self.watch(cron_jobs)
        self.watch(jobs, owner_keys("CronJob"))

    async def reconcile(self, key: str) -> float | None:
        cron_job = self.cron_jobs.get(key)
        if cron_job is None:
            return None
        jobs = owned_by(self.jobs, cron_job)
        for job in superfluous(cron_job, jobs):
            await self._delete(cron_job, job)
        status = self._observed(cron_job, [*jobs, *await self._unseen(cron_job, jobs)])
        if "deletionTimestamp" in cron_job["metadata"] or cron_job["spec"].get("suspend"):
            await self._write(cron_job, status)
            return None
        now = datetime.now(UTC)
        try:
            found = due(cron_job, now)
        except cron.CronError as error:
            schedule = cron_job["spec"]["schedule"]
            self.events.warning(cron_job, "UnparseableSchedule", f'unparseable schedule: "{schedule}" : {error}')
            await self._write(cron_job, status)
            return None
        if found.next is None:  # the 31st of February
            message = "time difference between two schedules is less than 1 second"
            schedule = cron_job["spec"]["schedule"]
            self.events.warning(cron_job, "InvalidSchedule", f"invalid schedule: {schedule} : {message}")
        if found.many_missed:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self.events.warning(cron_job, "TooManyMissedTimes", message)
        if found.time is not None:
            await self._run(cron_job, found.time, status)
        await self._write(cron_job, status)
        return (found.next - now).total_seconds() if found.next else None

    async def _unseen(self, cron_job: Object, jobs: list[Object]) -> list[Object]:
        """Return active Jobs that the informer has not seen yet: they were made a moment ago."""
        seen, found = {job["metadata"]["uid"] for job in jobs}, []
        for entry in cron_job.get("status", {}).get("active") or ():
            if entry["uid"] not in seen:
                try:
                    job = await self.client.get(JOBS, entry["name"], cron_job["metadata"]["namespace"])
                except ApiError as error:
                    if not error.is_not_found:
                        raise
                else:
                    found += [job] if job["metadata"]["uid"] == entry["uid"] else []
        return found

    def _observed(self, cron_job: Object, jobs: list[Object]) -> Object:
        """Return the status with the Jobs that run, and tell of those that have ended."""
        status = dict(cron_job.get("status", {}))
        known = {entry["uid"] for entry in status.get("active") or ()}
        for job in jobs:
            if job["metadata"]["uid"] in known and is_finished(job):
                type = "Complete" if (condition_of(job, "Complete") or {}).get("status") == "True" else "Failed"
                name = job["metadata"]["name"]
                self.events.normal(cron_job, "SawCompletedJob", f"Saw completed job: {name}, condition: {type}")
        ends = [t for job in jobs if (t := job.get("status", {}).get("completionTime"))]
        if ends and max(ends) > status.get("lastSuccessfulTime", ""):
            status["lastSuccessfulTime"] = max(ends)
        self._set_active(status, self._running(cron_job, jobs))
        for entry in cron_job.get("status", {}).get("active") or ():
            if entry["uid"] not in {job["metadata"]["uid"] for job in jobs}:
                self.events.normal(cron_job, "MissingJob", f"Active job went missing: {entry['name']}")
        return status

    def _running(self, cron_job: Object, jobs: list[Object]) -> list[Object]:
        """Return the Jobs that run for a time of the schedule. Others (``kubectl create job --from``) are told of, and count
        for no policy."""
        known = {entry["uid"] for entry in cron_job.get("status", {}).get("active") or ()}
        found = []
        for job in jobs:
            if is_finished(job):
                continue
            if job["metadata"]["uid"] in known or SCHEDULED in (job["metadata"].get("annotations") or {}):
                found.append(job)
            else:
                message = f"Saw a job that the controller did not create or forgot: {job['metadata']['name']}"
                self.events.warning(cron_job, "UnexpectedJob", message)
        return found

    def _set_active(self, status: Object, running: list[Object]) -> None:
        known = {entry["uid"]: entry for entry in status.pop("active", ())}
        running = sorted(running, key=lambda job: job["metadata"]["name"])
        if running:
            status["active"] = [known.get(job["metadata"]["uid"]) or reference(job) for job in running]

    async def _run(self, cron_job: Object, time: datetime, status: Object) -> None:
        """Start the Job of a time that is due, as the concurrency policy lets it."""
        active = {entry["uid"] for entry in status.get("active") or ()}
        running = [job for job in owned_by(self.jobs, cron_job) if job["metadata"]["uid"] in active]
        policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
        if running and policy == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.events.normal(cron_job, "JobAlreadyActive", message)
            return
        if running and policy == "Replace":
            for job in running:
                await self._delete(cron_job, job)
            running = []
        wanted = job_for(cron_job, time)
        name = wanted["metadata"]["name"]
        try:
            made = await self.client.create(JOBS, wanted, wanted["metadata"]["namespace"])
        except ApiError as error:
            if not error.already_exists:
                if not error.has_cause("NamespaceTerminating"):
                    self.events.warning(cron_job, "FailedCreate", f"Error creating job: {error}")
                raise
            made = await self.client.get(JOBS, name, wanted["metadata"]["namespace"])
            if (controller_of(made) or {}).get("uid") != cron_job["metadata"]["uid"]:
                return  # somebody else's, who says so where he likes
        else:
            self.events.normal(cron_job, "SuccessfulCreate", f"Created job {name}")
        if not is_finished(made):
            running = [*(job for job in running if job["metadata"]["name"] != name), made]
        self._set_active(status, running)
        status["lastScheduleTime"] = stamp(time)

    async def _delete(self, cron_job: Object, job: Object) -> None:
        metadata = job["metadata"]
        try:
            await self.client.delete(
                JOBS, metadata["name"], metadata["namespace"], propagation_policy="Background", uid=metadata["uid"]
            )
        except ApiError as error:
            if not error.is_not_found:
                self.events.warning(cron_job, "FailedDelete", f"Deleted job: {error}")
                raise
            return
        self.events.normal(cron_job, "SuccessfulDelete", f"Deleted job {metadata['name']}")

    async def _write(self, cron_job: Object, status: Object) -> None:
        if status != cron_job.get("status", {}):
            await self.client.update(CRON_JOBS, {**cron_job, "status": status}, subresource="status")
