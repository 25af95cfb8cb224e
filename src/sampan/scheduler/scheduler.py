"""The scheduler: every pod without a node is bound to the best node, or told why there is none.

Flow: events of informers keep ``ClusterState`` and the queue up to date; one loop takes the next pod, runs its cycle without
waiting for anything, and counts the pod on the node that was chosen ("assumed"); what has to wait (permit, pre_bind, bind)
is a task of its own, so that many bindings are under way at a time. Nothing polls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import NAMESPACES, NODES, PODS
from sampan.scheduler.binding import Binding, Bindings
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.configuration import Configuration, build
from sampan.scheduler.cycle import Cycles, Refusal, refused_on
from sampan.scheduler.extenders import Extenders
from sampan.scheduler.framework import (
    DELETE,
    Code,
    CycleState,
    Handle,
    Status,
    Together,
    failure,
)
from sampan.scheduler.metrics import ERROR, SCHEDULED, Metrics
from sampan.scheduler.metrics import UNSCHEDULABLE as REFUSED
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.observer import Observer
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, QueuedPod, SchedulingQueue
from sampan.scheduler.telling import SCHEDULER_ERROR, UNSCHEDULABLE, Teller
from sampan.scheduler.together import Outcome, place_all
from sampan.scheduler.victims import Candidate

logger = logging.getLogger("sampan.scheduler")

Choose = Callable[[Profile, CycleState, PodInfo], "NodeInfo | Refusal | Status"]


class Scheduler:
    """``informer_of`` gives shared informers; ``run`` works until cancelled."""

    name = "kube-scheduler"

    def __init__(
        self,
        client: Client,
        informer_of: Callable[[ResourceType], Informer],
        events: EventRecorder,
        configuration: Configuration | None = None,
        kubernetes_version: tuple[int, int] = (1, 37),
    ) -> None:
        configuration = configuration or Configuration()
        self.cluster, self.nominations = ClusterState(), Nominations(self._room_is_left)
        self.pods, self.nodes, self.namespaces = (informer_of(one) for one in (PODS, NODES, NAMESPACES))
        self.teller = Teller(client, events)
        self._informer_of = informer_of
        self._followed: list[Informer] = [self.pods, self.nodes, self.namespaces]
        self._group: asyncio.TaskGroup | None = None
        self._is_ending = False
        self.cycles = Cycles(self.cluster)
        self.metrics = Metrics(self)
        self.profiles: dict[str, Profile] = {}
        for spec in configuration.profiles:
            handle = Handle(
                client, self._follow, events, self.cluster, self.nominations, self._start,
                lambda key: self.queue.activate(key), lambda key: self.queue.released(key), kubernetes_version,
                lambda key: self.queue.later(key), lambda *event: self.queue.event(*event),
            )  # fmt: skip
            self.profiles[spec.scheduler_name] = build(spec, configuration, handle)
        self.extenders = Extenders(configuration.extenders)
        interests = self.extenders.interests()
        interests |= {name: found for one in self.profiles.values() for name, found in one.interests().items()}
        self.queue = SchedulingQueue(self._may_enter, interests, configuration.pauses)
        self.bindings = Bindings(
            self.cluster,
            self.queue,
            self.nominations,
            self.extenders,
            self.teller,
            self.metrics,
            self._spawn,
            self._fail,
        )
        observer = Observer(self.cluster, self.nominations, self.queue, self.profiles, self.bindings.cancel)
        self.nodes.add_handler(observer.on_node)
        self.namespaces.add_handler(observer.on_namespace)
        self.pods.add_handler(observer.on_pod)
        for resource in {one.resource for found in interests.values() for one in found} - {NODES, PODS, NAMESPACES}:
            self._follow(resource).add_handler(observer.on_any(resource))

    async def run(self) -> None:
        """Work until cancelled, once every informer that a plugin uses is whole."""
        for profile in self.profiles.values():
            await self._prepared(profile)
        for informer in self._followed:
            await informer.synced()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    queued = await self.queue.pop()
                    if (gang := self._profile(queued.pod).together(queued.pod)) is not None:
                        self._schedule_together(queued, gang)
                    elif self.extenders.all and self.extenders.are_asked_about(queued.pod):
                        await self._schedule_with_extenders(queued)
                    else:
                        self._schedule(queued)
                    await asyncio.sleep(0)  # whoever shares the loop gets on between two cycles
            finally:
                self._is_ending = True
                await self.extenders.close()

    async def _prepared(self, profile: Profile) -> None:
        pause, longest = FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
        while True:
            try:
                await profile.prepare()
            except (ApiError, OSError) as error:
                logger.warning("profile %s: %s", profile.name, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                return

    def _follow(self, resource: ResourceType) -> Informer:
        informer = self._informer_of(resource)
        if informer not in self._followed:
            self._followed.append(informer)
        return informer

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a plugin's coroutine beside the scheduler: its failure is logged and ends nothing else."""

        async def guarded() -> None:
            try:
                await work
            except (ApiError, OSError) as error:
                logger.warning("%s: %s", name, error)
            except Exception:
                logger.exception("%s failed", name)

        assert self._group is not None, "the scheduler does not run"
        if self._is_ending:
            work.close()  # bindings that end with us give back what they can; the next scheduler finds the rest
        else:
            self._group.create_task(guarded(), name=name)

    def _room_is_left(self, pod: PodInfo, node: str) -> None:
        """Have pods tried that may have waited for the room that was kept for another."""
        self.queue.event(PODS, DELETE, pod.placed_on(node).object, None)

    def _may_enter(self, pod: PodInfo) -> Status | None:
        return self._profile(pod).pre_enqueue(pod)

    def _profile(self, pod: PodInfo) -> Profile:
        return self.profiles[pod.spec.get("schedulerName") or "default-scheduler"]

    # one pod

    def _schedule(self, queued: QueuedPod) -> None:
        self._go_on(queued, CycleState(), lambda *cycle: self.cycles.choose(*cycle))

    async def _schedule_with_extenders(self, queued: QueuedPod) -> None:
        """Schedule a pod that extenders are asked about: one at a time, while everything else goes on."""
        profile, state = self._profile(queued.pod), CycleState()
        with self.queue.meanwhile(queued.pod.key):
            try:
                chosen = await self.cycles.choose_with(self.extenders, profile, state, queued.pod)
                if isinstance(chosen, Refusal) and chosen.nodes:
                    await profile.before_post_filter(state, queued.pod, chosen.statuses, self._narrow)
            except Exception as error:
                logger.exception("%s: a plugin failed", queued.pod.key)
                chosen = failure(f"running the plugins: {type(error).__name__}: {error}")
            if self.queue.get(queued.pod.key) is queued:  # it may have gone meanwhile
                self._go_on(queued, state, lambda *cycle: chosen)

    async def _narrow(self, pod: PodInfo, candidates: Sequence[Candidate]) -> list[Candidate] | Status:
        return await self.extenders.preempt(pod, candidates, self.cluster.nodes)

    def _schedule_together(self, queued: QueuedPod, group: Together) -> None:
        """Schedule a pod with all that belong to it, or none of them."""
        others = (self.queue.take(key) for key in group.waiting if key != queued.pod.key)
        outcome = place_all([queued, *(one for one in others if one is not None)], self._place_in_group)
        bound = len(outcome.placed) >= group.needed
        for one, state, placed in outcome.placed if bound else ():
            self.bindings.begin(Binding(self._profile(one.pod), state, one, placed))
        if bound:
            for refused in outcome.refused:
                self._conclude(*refused)
            return
        for one, state, placed in reversed(outcome.placed):
            self._profile(one.pod).unreserve(state, placed, placed.node)
            self.cluster.remove(placed.key)
        why = outcome.message(group.name, group.needed)
        self._profile(queued.pod).not_together(group, why)
        for refused in outcome.refused:
            self._refuse_in_group(refused.queued, outcome, refused.why, f"{refused.why.message} {why}.")
        for one, _, _ in outcome.placed:
            self._refuse_in_group(one, outcome, None, f"{why}.")

    def _refuse_in_group(self, queued: QueuedPod, outcome: Outcome, why: Refusal | Status | None, message: str) -> None:
        if isinstance(why, Status):
            self._fail(queued, SCHEDULER_ERROR, why.message)
            return
        self.queue.refused(queued, outcome.plugins)
        self._spawn(queued.pod.key, self.teller.refused(queued.pod, UNSCHEDULABLE, message), "refusal")

    def _place_in_group(self, queued: QueuedPod, state: CycleState) -> PodInfo | Refusal | Status:
        if self.extenders.are_asked_about(queued.pod):
            return failure("extenders are not asked about pods that are scheduled together")
        return self._place(queued, state, lambda *cycle: self.cycles.choose(*cycle))

    def _place(self, queued: QueuedPod, state: CycleState, choose: Choose) -> PodInfo | Refusal | Status:
        """Choose a node for a pod and count it there."""
        pod, profile, begun = queued.pod, self._profile(queued.pod), perf_counter()
        found: PodInfo | Refusal | Status
        try:
            chosen = choose(profile, state, pod)
            found = self._assume(profile, state, pod, chosen.name) if isinstance(chosen, NodeInfo) else chosen
        except Exception as error:
            # one pod that a plugin cannot read must not end everybody's scheduler
            logger.exception("%s: a plugin failed", pod.key)
            found = failure(f"running the plugins: {type(error).__name__}: {error}")
        result = ERROR if isinstance(found, Status) else REFUSED if isinstance(found, Refusal) else SCHEDULED
        self.metrics.attempts.observe(perf_counter() - begun, profile.name, result)
        return found

    def _go_on(self, queued: QueuedPod, state: CycleState, choose: Choose) -> None:
        """Take a pod from the choice of its node to what follows."""
        found = self._place(queued, state, choose)
        if isinstance(found, PodInfo):
            self.bindings.begin(Binding(self._profile(queued.pod), state, queued, found))
        else:
            self._conclude(queued, state, found)

    def _conclude(self, queued: QueuedPod, state: CycleState, why: Refusal | Status) -> None:
        """Put back a pod that found no node, or whose plugins failed."""
        if isinstance(why, Refusal):
            try:
                self._refuse(self._profile(queued.pod), state, queued, why)
                return
            except Exception as error:
                logger.exception("%s: a plugin failed", queued.pod.key)
                why = failure(f"running the plugins: {type(error).__name__}: {error}")
        self._fail(queued, SCHEDULER_ERROR, why.message)

    def _assume(self, profile: Profile, state: CycleState, pod: PodInfo, node: str) -> PodInfo | Refusal | Status:
        """Count the pod on its node and let plugins note it."""
        placed = pod.placed_on(node)
        self.cluster.assume(placed)
        try:
            status = profile.reserve(state, placed, node)
        except Exception as error:
            logger.exception("%s: a plugin failed to reserve", pod.key)
            status = failure(f"running Reserve plugins: {type(error).__name__}: {error}")
        if status is not None:
            profile.unreserve(state, placed, node)
            self.cluster.remove(pod.key)
            return refused_on(self.cluster, node, status) if status.code is not Code.ERROR else status
        self.nominations.drop(pod.key, node)
        return placed

    def _refuse(self, profile: Profile, state: CycleState, queued: QueuedPod, why: Refusal) -> None:
        """Make room if that can be done, put the pod back and say why it has no node."""
        pod, nominated = queued.pod, None
        if why.nodes:
            result = profile.post_filter(state, pod, why.statuses)
            nominated = result.nominated_node
            if result.status is not None:
                why.post_filter = result.status.message
            if nominated is not None:
                self.nominations.set(pod, nominated)
        self.queue.refused(queued, why.plugins, is_pending=why.pending)
        self._spawn(pod.key, self.teller.refused(pod, UNSCHEDULABLE, why.message, nominated), "refusal")

    def _fail(self, queued: QueuedPod, reason: str, message: str) -> None:
        """Put back a pod whose cycle or binding failed: it is tried again after a pause."""
        self.queue.failed(queued)
        self._spawn(queued.pod.key, self.teller.refused(queued.pod, reason, message), "failure")

    def _spawn(self, key: str, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except (ApiError, OSError) as error:
                logger.warning("%s: %s: %s", key, what, error)
            except Exception:
                logger.exception("%s: %s failed", key, what)  # and ends nobody else's

        assert self._group is not None
        return self._group.create_task(guarded(), name=f"{what}-{key}")
