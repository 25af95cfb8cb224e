"""The end of a pod: its containers stopped in order, its status told, everything of it removed from this node.

Each step finds what is left by itself, so an end that a crash cut off is begun again and comes to the same. A pod that has
ended by itself keeps its containers (for logs) until it is deleted. Source: the pod termination page of Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sampan.client.errors import ApiError
from sampan.client.resources import PODS
from sampan.node.local_pod import LocalPod
from sampan.node.pod_config import UID, log_directory
from sampan.node.pod_probes import PodProbes
from sampan.node.pod_reports import PodGone, PodReports
from sampan.node.pod_setup import PodSetup
from sampan.node.pod_view import ContainerView
from sampan.node.runtime import RuntimeFailure
from sampan.node.static_pods import is_static
from sampan.node.stopping import Ending, grace_of, in_order, stop_one
from sampan.node.volumes import removal
from sampan.schema.objects import Object


class PodEnding:
    """Ends one pod. ``kill`` ends one container of it, by its name."""

    def __init__(self, local: LocalPod, setup: PodSetup, probes: PodProbes, reports: PodReports) -> None:
        self._local = local
        self._setup = setup
        self._probes = probes
        self._reports = reports
        self._killed: dict[str, str] = {}
        """Containers that are being stopped, or were: name → id of the instance."""
        self.grace_seconds: int | None = None
        """The most that the pod has when this node ends it for its own sake."""
        self._ending: Ending | None = None
        """Set while everything of the pod is being stopped."""

    def shorten(self, pod: Object) -> None:
        """Take over a shorter grace period while the pod is being stopped."""
        if self._ending is not None:
            self._ending.shorten(grace_of(pod))

    def kill(self, group: asyncio.TaskGroup, name: str, message: str, grace_seconds: int | None = None) -> None:
        """Stop a running container; its exit wakes the worker. An instance is stopped once. ``grace_seconds``: other than
        the pod's."""
        view = self._local.view.of(name)
        if view.current is None or self._killed.get(name) == view.current.id:
            return
        self._killed[name] = view.current.id
        self._local.tell("Normal", "Killing", message, name)
        ending = self._ending or Ending(grace_of(self._local.pod) if grace_seconds is None else grace_seconds)
        group.create_task(self._stop_one(name, view, ending), name=f"stop-{self._local.key}-{name}")

    async def _stop_one(
        self, name: str, view: ContainerView, ending: Ending, turn: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        local = self._local
        container = local.container(name)
        target = local.target(container) if container else None
        await stop_one(local.context, local.pod, container or {}, view, target, ending, local.tell, turn)
        local.wake()

    async def stop_everything(self) -> None:
        """Stop what runs: all preStop hooks at once, then the containers in their order."""
        whole = grace_of(self._local.pod)
        self._ending = ending = Ending(whole if self.grace_seconds is None else min(self.grace_seconds, whole))
        groups = in_order(self._local.pod, self._local.view)
        names = [name for group in groups for name, _ in group]
        self._probes.changed.clear()
        for name in names:
            self._probes.end(name)
            self._local.tell("Normal", "Killing", f"Stopping container {name}", name)
        kills = self._local.context.runtime_name == "containerd"
        if kills and self._local.gone and len(names) <= 1:
            self._probes.drop_all()
            return  # it dies as quickly with its sandbox, whose stop kills it, and nobody asks how it ended
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._tell_who_is_ready(names), name=f"ready-{self._local.key}")
            before: list[asyncio.Task[None]] = []
            for group in groups:

                async def turn(earlier: tuple[asyncio.Task[None], ...] = tuple(before)) -> None:
                    if earlier:
                        await asyncio.wait(earlier)

                for name, view in group:
                    stop = self._stop_one(name, view, ending, turn)
                    task = tasks.create_task(stop, name=f"stop-{self._local.key}-{name}")
                    task.add_done_callback(lambda _, name=name: self._probes.drop(name))  # type: ignore[misc]
                    before.append(task)
            if before:
                await asyncio.wait(before)
            following.cancel()

    async def _tell_who_is_ready(self, names: list[str]) -> None:
        """Tell what readiness probes find while the containers of a deleted pod end: EndpointSlices say who still serves, and
        one that says it goes is asked no more while it still answers (KEP-1669)."""
        local = self._local
        while "deletionTimestamp" in local.pod["metadata"] and not local.view.failed_reason:
            await self._probes.changed.wait()
            self._probes.changed.clear()
            for name in names:
                local.view.of(name).ready = self._probes.ready(name)
            with contextlib.suppress(ApiError, PodGone):
                await self._reports.report()

    async def finish(self) -> None:
        """The pod has ended: stop what still runs (sidecars), release its sandbox and volumes, keep its logs and status."""
        local = self._local
        await self.stop_everything()
        await local.look()
        local.context.release(local.uid)
        local.context.allocations.release(local.uid)
        await self._reports.report(over=True)
        if local.view.sandbox_id:
            await local.context.runtime.stop_pod_sandbox(local.view.sandbox_id)
            local.view.sandbox_ready = False
        self._setup.volumes.clear()
        await removal.release_volumes(local.context, local.directory)
        local.over.set()

    async def terminate(self) -> None:
        """The pod is being deleted: stop it gracefully, say how it ended, and let the API forget it."""
        if self._local.unseen:
            await self._local.look()
        await self.clean_up()
        self._local.context.release(self._local.uid)
        self._local.context.allocations.release(self._local.uid)
        metadata = self._local.pod["metadata"]
        if is_static(self._local.pod) or self._local.gone:
            return  # a mirror goes by itself
        with contextlib.suppress(ApiError):
            try:
                await self._reports.report(over=True)
            except PodGone:
                return
        try:
            await self._local.context.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=self._local.uid
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def clean_up(self) -> None:
        """Stop and remove everything of the pod on this node."""
        local, context = self._local, self._local.context
        await self.stop_everything()
        if not local.gone:
            with contextlib.suppress(RuntimeFailure):
                await local.look()
        for sandbox in await context.runtime.list_pod_sandboxes({UID: local.uid}):
            await context.runtime.stop_pod_sandbox(sandbox.id)
            await context.runtime.remove_pod_sandbox(sandbox.id)
        local.view.sandbox_ready = False
        await removal.tear_down(context, local.directory)
        await asyncio.to_thread(removal.remove, log_directory(context.pod_log_dir, local.pod))
        context.remove_pod_cgroup(local.pod)
