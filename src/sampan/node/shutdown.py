"""Graceful shutdown of the node: pods get their time to end, the least important first, before the node itself goes.

Which pods have how long is ``shutdownGracePeriodByPodPriority``, or ``shutdownGracePeriod`` less what
``shutdownGracePeriodCriticalPods`` keeps for critical ones. Meanwhile the node is not ready and takes no pod in.
``phases_of`` and ``grouped`` are pure; ``NodeShutdown`` does it. Source: KEP-2000, KEP-2712; the kubelet's nodeshutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from sampan.client.events import EventRecorder
from sampan.node.context import NodeContext
from sampan.node.eviction_plan import CRITICAL_PRIORITY
from sampan.node.kubelet_config import KubeletConfig
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")

REASON, MESSAGE = "Terminated", "Pod was terminated in response to imminent node shutdown."
PROBLEM = "node is shutting down"
"""Why the node is not ready."""
TELL_SECONDS = 2.0
"""How long the API may take to hear the node's last words."""


class Phase(NamedTuple):
    """Pods of this priority, up to the next phase's, have so many seconds."""

    priority: int
    seconds: int


def phases_of(config: KubeletConfig) -> list[Phase]:
    """Return the phases in their order; none: pods are left as they are."""
    if config.shutdown_grace_period_by_pod_priority:
        given = config.shutdown_grace_period_by_pod_priority
        return sorted(Phase(one["priority"], one["shutdownGracePeriodSeconds"]) for one in given)
    whole, critical = int(config.shutdown_grace_period), int(config.shutdown_grace_period_critical_pods)
    return [Phase(0, whole - critical), Phase(CRITICAL_PRIORITY, critical)] if whole else []


def seconds_of(config: KubeletConfig) -> int:
    """Return how long all phases take together at the most."""
    return sum(phase.seconds for phase in phases_of(config))


class Ending(Protocol):
    """What a pod's worker is to the shutdown."""

    @property
    def over(self) -> asyncio.Event: ...
    @property
    def pod(self) -> Object: ...
    def end(self, reason: str, message: str, grace_seconds: int | None = None) -> None: ...


Worker = TypeVar("Worker", bound=Ending)


def grouped(phases: list[Phase], workers: Iterable[Worker]) -> list[tuple[Phase, list[Worker]]]:
    """Return who ends in which phase: each in the last one that its priority reaches, in the first where it reaches none."""
    groups: list[tuple[Phase, list[Worker]]] = [(phase, []) for phase in phases]
    for worker in workers:
        priority = worker.pod["spec"].get("priority") or 0
        reached = [at for at, phase in enumerate(phases) if phase.priority <= priority]
        groups[reached[-1] if reached else 0][1].append(worker)
    return groups


class NodeShutdown:
    """Ends the pods of a node. ``changed`` has the node's status told anew."""

    def __init__(
        self, context: NodeContext, workers: Mapping[str, Ending], events: EventRecorder, changed: Callable[[], None]
    ) -> None:
        self._context = context
        self._workers = workers
        self._events = events
        self._changed = changed

    async def run(self) -> None:
        """End all pods, phase by phase; return when they have ended, or their time is over."""
        self._context.shutting_down = True
        name = self._context.node_name
        about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
        self._events.record(about, "Normal", "NodeShutdown", "Shutdown manager detected shutdown event")
        self._changed()
        for phase, workers in grouped(phases_of(self._context.kubelet), list(self._workers.values())):
            waiting = [worker for worker in workers if not worker.over.is_set()]
            if not waiting:
                continue
            logger.info("%d pods of priority %d have %d s to end", len(waiting), phase.priority, phase.seconds)
            for worker in waiting:
                worker.end(REASON, MESSAGE, phase.seconds)
            try:
                async with asyncio.timeout(phase.seconds):
                    await asyncio.gather(*(worker.over.wait() for worker in waiting))
            except TimeoutError:
                left = [worker.pod["metadata"]["name"] for worker in waiting if not worker.over.is_set()]
                logger.warning("these pods did not end in %d s: %s", phase.seconds, ", ".join(left))
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._events.flush()
        except TimeoutError:
            logger.warning("not all events were told")
