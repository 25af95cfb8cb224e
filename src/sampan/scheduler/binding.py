"""One pod on its way from the choice of its node to its binding, and what has to be taken back when it does not get there.

A binding ends once: the pod is bound, or what was reserved and counted for it is taken back, however its task came to its
end (refused, failed, cancelled, or cancelled before it had begun).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sampan.client.resources import PODS
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.cycle import refused_on
from sampan.scheduler.extenders import Extenders
from sampan.scheduler.framework import DELETE, Code, CycleState, failure
from sampan.scheduler.metrics import Metrics
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import QueuedPod, SchedulingQueue
from sampan.scheduler.telling import SCHEDULER_ERROR, UNSCHEDULABLE, Teller

logger = logging.getLogger("sampan.scheduler")

Spawn = Callable[[str, Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
Fail = Callable[[QueuedPod, str, str], None]
BINDINGS = 64
"""How many pods are being bound at a time; waiting for volumes or a permit does not count."""


@dataclass(eq=False)
class Binding:
    profile: Profile
    state: CycleState
    queued: QueuedPod
    pod: PodInfo
    """As it counts on its node."""
    is_over: bool = False
    """The pod is bound, or everything was taken back."""

    @property
    def node(self) -> str:
        return self.pod.node

    def take_back(self) -> bool:
        """Undo what plugins reserved; return False if nothing is left to undo."""
        if self.is_over:
            return False
        self.is_over = True
        self.profile.unreserve(self.state, self.pod, self.node)
        return True


class Bindings:
    """The bindings that are under way. ``spawn`` runs the work of a pod as a task of its own, ``fail`` puts a pod back."""

    def __init__(
        self,
        cluster: ClusterState,
        queue: SchedulingQueue,
        nominations: Nominations,
        extenders: Extenders,
        teller: Teller,
        metrics: Metrics,
        spawn: Spawn,
        fail: Fail,
    ) -> None:
        self.cluster, self.queue, self.nominations, self.extenders = cluster, queue, nominations, extenders
        self.teller, self.metrics = teller, metrics
        self._spawn, self._fail = spawn, fail
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By the key of the pod."""
        self._slots = asyncio.Semaphore(BINDINGS)

    def begin(self, binding: Binding) -> None:
        key, work = binding.pod.key, self._bind(binding)
        task = self._tasks[key] = self._spawn(key, work, "binding")

        def ended(task: asyncio.Task[None]) -> None:
            work.close()  # one that was cancelled before it began was never awaited
            if self._tasks.get(key) is task:
                del self._tasks[key]
            self._give_back(binding)

        task.add_done_callback(ended)

    def cancel(self, key: str) -> None:
        """End the binding of a pod, if one is under way."""
        if (task := self._tasks.get(key)) is not None:
            task.cancel()

    async def _bind(self, binding: Binding) -> None:
        profile, state, queued, pod, node = binding.profile, binding.state, binding.queued, binding.pod, binding.node
        try:
            status = await profile.permit(state, pod, node) or await profile.pre_bind(state, pod, node)
            if status is None:
                async with self._slots:
                    extender = self.extenders.binder(pod)
                    status = await (extender.bind(pod, node) if extender else profile.bind(state, pod, node))
        except Exception as error:
            logger.exception("%s: a plugin failed", pod.key)
            status = failure(f"{type(error).__name__}: {error}")
        if status is None:
            binding.is_over = True
            self.teller.scheduled(pod, node)
            self.metrics.whole.observe(asyncio.get_running_loop().time() - queued.first_seen, str(queued.attempts))
            self.metrics.tries.observe(queued.attempts)
            profile.post_bind(state, pod, node)
            return
        self._give_back(binding)
        if self.queue.get(pod.key) is not queued:
            return
        if status.code is Code.ERROR:
            self._fail(queued, SCHEDULER_ERROR, status.message)
        else:
            self._fail(queued, UNSCHEDULABLE, refused_on(self.cluster, node, status).message)

    def _give_back(self, binding: Binding) -> None:
        """Take back what was counted and reserved for a pod that was not bound."""
        if not binding.take_back():
            return
        pod, queued = binding.pod, binding.queued
        if self.cluster.assumed.get(pod.key) is pod:
            self.cluster.remove(pod.key)
            self.queue.event(PODS, DELETE, pod.object, None)
        if self.queue.get(pod.key) is queued:  # the room that was made for it is still meant for it
            self.nominations.set(queued.pod, queued.pod.nominated)
