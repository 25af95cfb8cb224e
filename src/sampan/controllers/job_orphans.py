"""Pods that nobody counts any more lose the finalizer that kept them for it: their Job is gone, done, or lets them go."""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import JOBS
from sampan.controllers.job import is_ours, release, selector_of
from sampan.controllers.job_view import is_finished, is_tracked
from sampan.controllers.ownership import BY_OWNER, controller_of, controller_uid
from sampan.schema.objects import Object


class OrphanPods(Controller):
    name = "job-orphan-pods"

    def __init__(self, client: Client, jobs: Informer, pods: Informer) -> None:
        super().__init__(client)
        self.jobs, self.pods = jobs, pods
        pods.add_index(BY_OWNER, controller_uid)
        self.watch(pods, self._of_pod)
        self.watch(jobs, self._of_job)
        jobs.add_handler(self._on_job)

    def _of_pod(self, pod: Object) -> list[str]:
        if not is_tracked(pod):
            return []
        reference = controller_of(pod)
        job = self.jobs.get(f"{pod['metadata']['namespace']}/{reference['name']}") if reference else None
        return [] if job is not None and not is_finished(job) else [key_of(pod)]

    def _of_job(self, job: Object) -> list[str]:
        return self._pods_of(job) if is_finished(job) else []

    def _on_job(self, change: str, old: Object | None, new: Object) -> None:
        if change == "DELETED":
            for key in self._pods_of(new):
                self.queue.add(key)

    def _pods_of(self, job: Object) -> list[str]:
        return [key_of(pod) for pod in self.pods.by_index(BY_OWNER, job["metadata"]["uid"]) if is_tracked(pod)]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is not None and is_tracked(pod) and await self._is_orphan(pod):
            await release(self.client, pod)
        return None

    async def _is_orphan(self, pod: Object) -> bool:
        namespace, reference = pod["metadata"]["namespace"], controller_of(pod)
        if reference is None:
            labels = pod["metadata"].get("labels") or {}
            return not any(
                job["metadata"]["namespace"] == namespace and selector_of(job).matches(labels) and not is_finished(job)
                for job in self.jobs
            )
        if reference["kind"] != JOBS.kind:
            return True
        try:  # the informer may be behind: what a pod was made for is asked for
            job = await self.client.get(JOBS, reference["name"], namespace)
        except ApiError as error:
            if not error.is_not_found:
                raise
            return True
        return job["metadata"]["uid"] != reference["uid"] or (is_finished(job) and is_ours(job))
