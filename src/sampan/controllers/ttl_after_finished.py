"""Jobs that have ended go, with their pods, after their ``ttlSecondsAfterFinished``. Source: KEP-592."""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import JOBS
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object


def seconds_left(job: Object) -> float | None:
    """Return in how many seconds a Job is to go; None for one that has not ended, or is to stay."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or "deletionTimestamp" in job["metadata"]:
        return None
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return float(ttl - seconds_since(condition["lastTransitionTime"]))
    return None


class TtlAfterFinishedController(Controller):
    name = "ttl-after-finished-controller"

    def __init__(self, client: Client, jobs: Informer) -> None:
        super().__init__(client)
        self.jobs = jobs
        self.watch(
            jobs, lambda job: [f"{job['metadata']['namespace']}/{job['metadata']['name']}"] if has_ttl(job) else []
        )

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.get(key)
        left = seconds_left(job) if job is not None else None
        if job is None or left is None or left > 0:
            return left
        metadata = job["metadata"]
        try:
            # the time to live may have been changed since: it is looked at as it is now
            fresh = await self.client.get(JOBS, metadata["name"], metadata["namespace"])
            left = seconds_left(fresh)
            if left is None or left > 0 or fresh["metadata"]["uid"] != metadata["uid"]:
                return left
            await self.client.delete(
                JOBS, metadata["name"], metadata["namespace"], propagation_policy="Foreground", uid=metadata["uid"]
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
        return None


def has_ttl(job: Object) -> bool:
    return job["spec"].get("ttlSecondsAfterFinished") is not None
