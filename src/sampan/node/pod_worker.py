"""One task a pod: looks at what there is, asks the planner for the next step, does it, tells the API.

It is woken by a change of the Pod, the exit of a container, a verdict of a probe or a timer for back-off. What should be
done is said by ``pod_plan.py`` alone, from the Pod and the runtime's lists of this pod's sandboxes and containers; a restart
of the node continues where it was, and nothing is made twice. The hands: ``pod_setup.py`` (volumes, sandbox),
``container_start.py``, ``pod_ending.py``, ``pod_reports.py``; what they share is a ``LocalPod``.
"""

from __future__ import annotations

import asyncio
import time

from sampan.client.errors import ApiError
from sampan.node import admission
from sampan.node.admission import Wait
from sampan.node.container_start import ContainerStarter
from sampan.node.context import NodeContext
from sampan.node.local_pod import LocalPod
from sampan.node.pod_ending import PodEnding
from sampan.node.pod_plan import ENDED, deadline_left, next_step
from sampan.node.pod_probes import PodProbes
from sampan.node.pod_reports import PodGone, PodReports
from sampan.node.pod_resize import PodResizer, resizable
from sampan.node.pod_setup import PodSetup
from sampan.node.pod_status import phase_of
from sampan.node.resources import milli, qos_class
from sampan.node.runtime import RuntimeFailure
from sampan.node.volumes import VolumeError
from sampan.node.volumes.usage import volume_stats
from sampan.schema.objects import Object
from sampan.security.refusals import Refusal

REFRESH_SECONDS = 60.0
"""How often written volumes are compared with what they name, beside the changes that wake the worker (tokens expire)."""
RETRY_SECONDS = 2.0
PINNED = 'Resize is infeasible for Guaranteed Pods alongside {} Manager policy "{}"'
UNTIL_RUNTIME_KNOWS_SECONDS = 0.02


class PodWorker:
    """The life of one pod on this node. ``fresh``: the runtime has nothing of it yet."""

    def __init__(self, context: NodeContext, pod: Object, *, fresh: bool = False) -> None:
        self.context = context
        self.local = local = LocalPod(context, pod, fresh=fresh)
        self.view = local.view
        self._probes = PodProbes(context.runtime, local.nudge, self._restart, local.tell)
        self._setup = PodSetup(local)
        self._starter = ContainerStarter(local, self._setup, self._kill)
        self._resizer = PodResizer(local, self._restart)
        self._reports = PodReports(local)
        self._ending = PodEnding(local, self._setup, self._probes, self._reports)
        self._group: asyncio.TaskGroup | None = None

    @property
    def key(self) -> str:
        return self.local.key

    @property
    def pod(self) -> Object:
        """The Pod as the API has it."""
        return self.local.desired

    @property
    def over(self) -> asyncio.Event:
        """Set when nothing of the pod runs here any more, and its end was told."""
        return self.local.over

    def update(self, pod: Object, *, gone: bool = False) -> None:
        """Take over a newer state of the Pod; ``gone``: its last one."""
        self.local.update(pod)
        self.local.gone |= gone
        self._ending.shorten(pod)
        self.local.nudge()

    def wake(self) -> None:
        self.local.wake()

    def nudge(self) -> None:
        self.local.nudge()

    def evict(self, message: str, grace_seconds: int) -> None:
        """End the pod because the node runs short; it fails with this message."""
        self.end("Evicted", message, grace_seconds)

    def end(self, reason: str, message: str, grace_seconds: int | None = None) -> None:
        """End the pod for the node's sake; it fails with this reason and message. ``grace_seconds``: the most it has."""
        if self.view.failed_reason:
            return
        self.view.failed_reason, self.view.failed_message, self.view.disrupted = reason, message, True
        self._ending.grace_seconds = grace_seconds
        self.local.tell("Warning", reason, message)
        self.local.wake()

    def wake_after(self, seconds: float) -> None:
        self.local.wake_after(seconds)

    async def volume_stats(self) -> list[Object]:
        """Return how full the pod's volumes are (VolumeStats)."""
        return await volume_stats(self.context, self.pod, self._setup.volumes)

    async def run(self) -> None:
        """Live until the pod is gone from the API and from this node."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._live()
                self._probes.drop_all()
            self.over.set()
        finally:
            self._probes.drop_all()
            self.local.forget_timer()

    async def _live(self) -> None:
        local = self.local
        while True:
            await local.awake.wait()
            local.awake.clear()
            local.forget_timer()
            try:
                if local.gone or "deletionTimestamp" in self.pod["metadata"]:
                    await self._ending.terminate()
                    return
                await self._sync()
            except PodGone:
                local.gone = True  # deleted without grace; the informer will say so, too
                local.wake()
            except (ApiError, RuntimeFailure, OSError) as error:
                self._later(error)

    def _later(self, error: Exception) -> None:
        self.context.logger.warning("%s: %s", self.key, error)
        self.local.unseen = True
        self.local.wake_after(RETRY_SECONDS)

    # one look

    async def _sync(self) -> None:
        await self._observe()
        if self._has_ended() or not await self._is_admitted() or self._past_deadline():
            await self._ending.finish()
            return
        if self.view.waits_for_room:
            return  # woken when others have gone
        try:
            await self._setup.prepare()
        except (VolumeError, RuntimeFailure, OSError) as error:
            await self._not_set_up(error)
            return
        await self._resizer.apply()
        await self._step()
        if self._has_ended():
            await self._ending.finish()
            return
        await self._reports.report()
        if self._setup.volumes:
            self.local.wake_after(REFRESH_SECONDS)

    def _has_ended(self) -> bool:
        told = (self.pod.get("status") or {}).get("phase")
        return told in ENDED or phase_of(self.local.pod, self.view) in ENDED

    async def _not_set_up(self, error: VolumeError | RuntimeFailure | OSError) -> None:
        if isinstance(error, VolumeError):
            self.local.tell("Warning", "FailedMount", str(error))
        else:
            self.local.tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        self.local.unseen = True
        self.local.wake_after(RETRY_SECONDS)
        await self._reports.report()

    async def _observe(self) -> None:
        """Bring the view and the probes up to date with the runtime."""
        if self.local.unseen:
            await self.local.look()
        if self.local.observer.still_ending():
            self.local.wake_after(UNTIL_RUNTIME_KNOWS_SECONDS)
        inits = {container["name"] for container in self.pod["spec"].get("initContainers") or ()}
        for name, view in self.view.containers.items():
            if not view.running:
                self._probes.drop(name)
                view.started = view.hook_pending = False
                view.ready = view.succeeded and name in inits
            elif (container := self.local.container(name)) is not None:
                self._watch(container)

    async def _step(self) -> None:
        """Do what the planner says until it has nothing more to start."""
        assert self._group is not None
        tried: set[str] = set()
        while True:
            step = next_step(self.local.pod, self.view, tried)
            for name, message in step.kills:
                self._restart(name, message)
            if not step.starts:
                return
            tried |= {container["name"] for container in step.starts}
            await asyncio.gather(*(self._start(container) for container in step.starts))

    async def _start(self, container: Object) -> None:
        await self._starter.start(container)
        if self.view.of(container["name"]).running:
            self._watch(container)

    def _watch(self, container: Object) -> None:
        """Take over the verdicts of a running container's probes; they begin when its postStart hook is over."""
        name, target = container["name"], self.local.target(container)
        assert self._group is not None and target is not None
        self._starter.look_at_hook(self._group, container)
        if self.view.of(name).hook_pending:
            return
        told = self.local.told(name, target.container_id)
        probes = self._probes.watch(
            self._group, name, target, started=bool(told.get("started")), ready=bool(told.get("ready"))
        )
        view = self.view.of(name)
        view.started, view.ready = probes.started, probes.ready

    async def _is_admitted(self) -> bool:
        """Whether the pod may run here, now or when others have gone; one that runs is given what it asks for now, if it can
        be."""
        local, allocations = self.local, self.context.allocations
        if not allocations.knows(local.uid):
            began = bool(self.view.sandbox_id) or any(seen.current for seen in self.view.containers.values())
            found = await admission.judge(self.context, self.pod, began=began)
            self.view.waits_for_room = found is Wait.FOR_ROOM
            if isinstance(found, Refusal):
                self.view.failed_reason, self.view.failed_message = found.reason, f"Pod was rejected: {found.message}"
                self.view.rejected = True
                local.tell("Warning", found.reason, found.message)
                return False
            if self.view.waits_for_room:
                return True
        before = self.view.resize_pending
        now = self._pinned() or allocations.resize(self.pod)
        if now is not None and now != before:
            local.tell("Warning", f"Resize{now.reason}", f"Pod resize {now.reason}: {now.message}")
        self.view.resize_pending = now
        local.update(self.pod)
        return True

    def _pinned(self) -> Refusal | None:
        """Return why a pod that may have CPUs or memory of its own is not resized, if it asks for that."""
        local, kubelet = self.local, self.local.context.kubelet
        if qos_class(self.pod) != "Guaranteed":
            return None
        for resource, manager, policy, static in (
            ("cpu", "CPU", kubelet.cpu_manager_policy, "static"),
            ("memory", "Memory", kubelet.memory_manager_policy, "Static"),
        ):
            if policy == static and asks(self.pod, resource) != asks(local.pod, resource):
                return Refusal("Infeasible", PINNED.format(manager, policy))
        return None

    def _past_deadline(self) -> bool:
        """Whether activeDeadlineSeconds are over; then the pod fails."""
        left = deadline_left(self.pod, time.time())
        if left is None:
            return False
        if left > 0:
            self.local.wake_after(left + 0.1)
            return False
        if not self.view.failed_reason:
            self.view.failed_reason = "DeadlineExceeded"
            self.view.failed_message = "Pod was active on the node longer than the specified deadline"
            self.local.tell("Normal", "DeadlineExceeded", self.view.failed_message)
        return True

    def _kill(self, name: str, message: str) -> None:
        assert self._group is not None
        self._ending.kill(self._group, name, message)

    def _restart(self, name: str, message: str, grace_seconds: int | None = None) -> None:
        """Stop a container that is to be started again whatever its exit code is."""
        assert self._group is not None
        view = self.view.of(name)
        view.stopped = view.current.id if view.current is not None else ""
        self._ending.kill(self._group, name, message, grace_seconds)


def asks(pod: Object, resource: str) -> dict[str, int]:
    """Return what each container that can be resized asks for of a resource."""
    return {container["name"]: milli(container, "requests", resource) for container in resizable(pod)}
