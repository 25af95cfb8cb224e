"""The pods that wait for a node: those to be tried now, those that pause, and those for which something must happen first.

A pod that was refused waits until an event comes in which one of the plugins that refused it has an interest (its hint is
asked). It then pauses for as long as its failures ask (1 s, doubled up to 10 s), unless nothing else is to be tried.
Nothing polls: one timer stands for the earliest end of a pause. Sources: KEP-4247 (queueing hints), KEP-5142 (pausing pods
are taken when nothing else waits), pkg/scheduler/backend/queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sampan.client.protocol import ResourceType
from sampan.client.resources import NODES
from sampan.scheduler.framework import ADD, Hint, Interest, Status, interest
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 10.0
LONGEST_WAIT_SECONDS = 300.0
"""A pod is tried again after this long whatever happened: a hint may be wrong (podMaxInUnschedulablePodsDuration)."""

NOBODY = ""
"""Who refuses a pod where there are no nodes: it waits for the first."""

Happening = tuple[ResourceType, str, "Object | None", "Object | None"] | None
"""An event; None: the pod itself changed."""
EnqueueCheck = Callable[[PodInfo], "Status | None"]


@dataclass(eq=False)
class QueuedPod:
    pod: PodInfo
    order: tuple[int, float, int] = (0, 0.0, 0)
    """Who comes first: the more important, then who waits longer."""
    where: str = ""
    """``active``, ``backoff``, ``unschedulable`` or ``gated``; empty while it is being tried."""
    attempts: int = 0
    failed_at: float = 0.0
    first_seen: float = 0.0
    refused_by: frozenset[str] = frozenset()
    pending: bool = False
    """Refused by a plugin that waits for somebody else: no pause when that has happened."""
    errors: int = 0
    due: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class SchedulingQueue:
    """``may_enter`` asks the profile of a pod; ``interests`` are of all plugins, by their names."""

    def __init__(
        self,
        may_enter: EnqueueCheck,
        interests: Mapping[str, Iterable[Interest]],
        pauses: tuple[float, float] = (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    ) -> None:
        self._may_enter = may_enter
        self._pauses = pauses
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[tuple[int, float, int], QueuedPod]] = []
        self._pausing: list[tuple[float, int, QueuedPod]] = []
        self._erring: list[tuple[float, int, QueuedPod]] = []
        """Those that pause after an error: they are not hurried, the error would only come again."""
        self._refused: dict[str, dict[str, QueuedPod]] = {}
        """Who waits, by the plugins that refused them."""
        self._counter = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._arrived = asyncio.Event()
        self._listeners: dict[tuple[ResourceType, str], list[tuple[str, Hint | None]]] = {}
        for plugin, found in {NOBODY: (interest(NODES, ADD),), **interests}.items():
            for one in found:
                for action in one.actions:
                    self._listeners.setdefault((one.resource, action), []).append((plugin, one.hint))
        self._meanwhile: dict[str, list[Happening]] = {}
        """What happens while pods are being tried that others are asked about, by their keys."""
        self.incoming: dict[tuple[str, str], int] = {}
        """How many pods came into each part, by part and event: a metric."""

    # what is there

    def counts(self) -> dict[str, int]:
        counts = dict.fromkeys(("active", "backoff", "unschedulable", "gated"), 0)
        for queued in self._pods.values():
            if queued.where:
                counts[queued.where] += 1
        return counts

    def refusals(self) -> dict[str, int]:
        """Return how many pods wait, by the plugin that refused them."""
        return {plugin: len(waiting) for plugin, waiting in self._refused.items() if plugin}

    def get(self, key: str) -> QueuedPod | None:
        return self._pods.get(key)

    # coming and going

    def add(self, pod: PodInfo) -> None:
        """Queue a pod that came, or take over its new state: what waits is tried again when it changed itself."""
        queued = self._pods.get(pod.key)
        if queued is not None and queued.pod.uid != pod.uid:
            self.delete(pod.key)
            queued = None
        if queued is None:
            now = self._now()
            queued = QueuedPod(pod, first_seen=now)
            queued.order = (-pod.priority, now, next(self._counter))
            self._pods[pod.key] = queued
            self._enter(queued, "PodAdd")
            return
        before, queued.pod = queued.pod, pod
        queued.order = (-pod.priority, *queued.order[1:])
        if pod.key in self._meanwhile and (before.spec != pod.spec or before.labels != pod.labels):
            self._meanwhile[pod.key].append(None)
        if queued.where == "gated" or (
            queued.where == "unschedulable" and (before.spec != pod.spec or before.labels != pod.labels)
        ):
            self._leave(queued)
            self._enter(queued, "PodUpdate")

    def delete(self, key: str) -> None:
        queued = self._pods.pop(key, None)
        if queued is not None:
            self._leave(queued)

    async def pop(self) -> QueuedPod:
        """Return the next pod to try; ``refused``, ``failed`` or ``delete`` must follow."""
        while True:
            queued = self._next()
            if queued is not None:
                queued.where = ""
                queued.attempts += 1
                return queued
            self._arrived.clear()
            await self._arrived.wait()

    def _next(self) -> QueuedPod | None:
        while self._active:
            order, queued = heapq.heappop(self._active)
            if queued.where == "active" and queued.order == order:
                return queued
        while self._pausing:
            due, _, queued = heapq.heappop(self._pausing)
            if queued.where == "backoff" and queued.due == due:
                return queued
        return None

    # trying again

    def refused(self, queued: QueuedPod, plugins: Iterable[str], *, is_pending: bool = False) -> None:
        """Put back a pod that found no node; ``plugins``: who refused it."""
        if self._pods.get(queued.pod.key) is not queued:
            return
        queued.refused_by, queued.pending, queued.errors = frozenset(plugins) or frozenset({NOBODY}), is_pending, 0
        queued.failed_at = self._now()
        if any(self._may_help(queued, one) for one in self._meanwhile.get(queued.pod.key, ())):
            self._enter(queued, "ScheduleAttemptFailure")
        else:
            self._wait(queued, "unschedulable", "ScheduleAttemptFailure")

    def failed(self, queued: QueuedPod) -> None:
        """Put back a pod whose cycle or binding ended with an error: it is tried again after its pause."""
        if self._pods.get(queued.pod.key) is not queued:
            return
        queued.errors += 1
        queued.failed_at = self._now()
        self._enter(queued, "ScheduleAttemptFailure")

    def take(self, key: str) -> QueuedPod | None:
        """Return a waiting pod, to be tried now with another; None if it is not there, or may not be tried. ``refused``,
        ``failed`` or ``delete`` must follow."""
        queued = self._pods.get(key)
        if queued is None or queued.where not in ("active", "backoff", "unschedulable"):
            return None
        self._leave(queued)
        queued.attempts += 1
        return queued

    def activate(self, key: str) -> None:
        """Try a pod now, whatever it waits for, unless it may not enter at all."""
        queued = self._pods.get(key)
        if queued is not None and queued.where in ("backoff", "unschedulable", "gated"):
            self._leave(queued)
            queued.errors = 0
            if self._admit(queued):
                self._to_active(queued, "ForceActivate")

    def later(self, key: str) -> None:
        """Try a pod after its pause, whatever it waits for: what was done for it went wrong."""
        queued = self._pods.get(key)
        if queued is not None and queued.where in ("unschedulable", "gated"):
            self._leave(queued)
            queued.pending = False
            self.failed(queued)

    def released(self, key: str) -> None:
        """Ask again whether a pod may be tried, if it was held back."""
        queued = self._pods.get(key)
        if queued is not None and queued.where == "gated":
            self.activate(key)

    def meanwhile(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Note what happens while a pod is being tried, if that takes longer than a moment: a refusal may be out of date."""

        @contextlib.contextmanager
        def noted() -> Iterator[None]:
            self._meanwhile[key] = []
            try:
                yield
            finally:
                del self._meanwhile[key]

        return noted()

    def _may_help(self, queued: QueuedPod, happening: Happening) -> bool:
        if happening is None:
            return True
        resource, action, old, new = happening
        return any(
            plugin in queued.refused_by and (hint is None or hint(queued.pod, old, new))
            for plugin, hint in self._listeners.get((resource, action), ())
        )

    def event(self, resource: ResourceType, action: str, old: Object | None, new: Object | None) -> None:
        """Try again who may have waited for this."""
        for noted in self._meanwhile.values():
            noted.append((resource, action, old, new))
        if not self._refused:
            return
        found: dict[str, QueuedPod] = {}
        for plugin, hint in self._listeners.get((resource, action), ()):
            for key, queued in self._refused.get(plugin, {}).items():
                if key not in found and (hint is None or hint(queued.pod, old, new)):
                    found[key] = queued
        for queued in sorted(found.values(), key=lambda one: one.order):
            self._leave(queued)
            self._enter(queued, f"{resource.kind}{action}")

    # the parts

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _admit(self, queued: QueuedPod) -> bool:
        """Whether a pod may be tried; one that may not waits as gated."""
        status = self._may_enter(queued.pod)
        if status is None:
            return True
        queued.refused_by = frozenset({status.plugin})
        self._wait(queued, "gated", "BeforeEnqueue")
        return False

    def _enter(self, queued: QueuedPod, event: str) -> None:
        if not self._admit(queued):
            return
        pause_ends = queued.failed_at + self.pause_seconds(queued)
        if queued.attempts and not queued.pending and pause_ends > self._now():
            queued.where, queued.due = "backoff", pause_ends
            heap = self._erring if queued.errors else self._pausing
            heapq.heappush(heap, (pause_ends, next(self._counter), queued))
            self._note("backoff", event)
            self._set_timer()
            self._arrived.set()
        else:
            self._to_active(queued, event)

    def pause_seconds(self, queued: QueuedPod) -> float:
        first, longest = self._pauses
        return float(min(first * 2 ** min(max(queued.attempts - 1, 0), 30), longest))

    def _to_active(self, queued: QueuedPod, event: str) -> None:
        queued.where = "active"
        heapq.heappush(self._active, (queued.order, queued))
        self._note("active", event)
        self._arrived.set()

    def _wait(self, queued: QueuedPod, where: str, event: str) -> None:
        queued.where = where
        for plugin in queued.refused_by:
            self._refused.setdefault(plugin, {})[queued.pod.key] = queued
        if where == "unschedulable":
            loop = asyncio.get_running_loop()
            queued.timer = loop.call_later(LONGEST_WAIT_SECONDS, self._too_long, queued)
        self._note(where, event)

    def _too_long(self, queued: QueuedPod) -> None:
        self._leave(queued)
        self._enter(queued, "UnschedulableTimeout")

    def _leave(self, queued: QueuedPod) -> None:
        """Take a pod out of the part it is in; what heaps still have of it no longer counts."""
        queued.where = ""
        for plugin in queued.refused_by:
            waiting = self._refused.get(plugin)
            if waiting is not None:
                waiting.pop(queued.pod.key, None)
                if not waiting:
                    del self._refused[plugin]
        if queued.timer is not None:
            queued.timer.cancel()
            queued.timer = None

    def _note(self, where: str, event: str) -> None:
        self.incoming[where, event] = self.incoming.get((where, event), 0) + 1

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [heap[0][0] for heap in (self._pausing, self._erring) if heap]
        if ends:
            self._timer = asyncio.get_running_loop().call_at(min(ends), self._pause_over)

    def _pause_over(self) -> None:
        self._timer = None
        now = self._now()
        for heap in (self._pausing, self._erring):
            while heap and heap[0][0] <= now + 1e-4:
                due, _, queued = heapq.heappop(heap)
                if queued.where == "backoff" and queued.due == due:
                    self._to_active(queued, "BackoffComplete")
        self._set_timer()
