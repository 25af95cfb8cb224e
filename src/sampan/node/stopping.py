"""How containers end: preStop, SIGTERM, and SIGKILL when the grace period is over; sidecars last, in reverse order.

Source: the pod termination page of Kubernetes, KEP-753 for the order of sidecars.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from sampan.node import cri_pb2 as cri
from sampan.node.context import NodeContext
from sampan.node.hooks import run_hook
from sampan.node.pod_view import ContainerView, PodView
from sampan.node.probes import Target
from sampan.node.runtime import RuntimeFailure
from sampan.node.signals import for_kernel, stop_signal_of
from sampan.schema.objects import Object

Answer = TypeVar("Answer")
LEAST_AFTER_HOOK_SECONDS = 2
Tell = Callable[[str, str, str, str], None]
"""``(event type, reason, message, container)``."""


def grace_of(pod: Object) -> int:
    """Return the seconds a pod has to end: those of its deletion, else its own."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    return int(asked if asked is not None else pod["spec"].get("terminationGracePeriodSeconds", 30))


class Ending:
    """The time a pod, or one of its containers, has to end. It can be shortened while it runs out: by a second deletion with
    less grace, or by the Pod's own disappearance from the API."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._shortened = asyncio.Event()
        self.cut = not seconds
        """It was made to end at once: nothing is waited for."""

    @property
    def left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def shorten(self, seconds: float) -> None:
        if seconds < self.left:
            self._deadline = time.monotonic() + seconds
            self.cut = not seconds
            self._shortened.set()
            self._shortened = asyncio.Event()

    async def within(self, work: asyncio.Task[Answer]) -> Answer | None:
        """Return what ``work`` returns; None when the time is over before, with ``work`` cancelled."""
        try:
            while not work.done():
                if not self.left:
                    return None
                await self._next(work, self.left)
            return work.result()
        finally:
            work.cancel()

    async def again_when_shortened(self, stop: Callable[[int], Coroutine[None, None, None]]) -> None:
        """Run ``stop(seconds)`` to its end; while it runs, run it once more beside it each time there is less time."""
        async with asyncio.TaskGroup() as group:
            first = group.create_task(stop(int(self.left)))
            while not first.done():
                if await self._next(first):
                    group.create_task(stop(int(self.left)))

    async def _next(self, work: asyncio.Task[Answer], seconds: float | None = None) -> bool:
        """Wait until ``work`` is done, the time was shortened, or ``seconds`` are over; return whether it was shortened."""
        told = asyncio.ensure_future(self._shortened.wait())
        try:
            await asyncio.wait((work, told), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return told.done()
        finally:
            told.cancel()


async def stop_one(
    context: NodeContext,
    pod: Object,
    container: Object,
    view: ContainerView,
    target: Target | None,
    ending: Ending,
    tell: Tell,
    turn: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Stop one running container. ``target`` is where its preStop hook goes; after that it waits for its ``turn``, at most
    until the time is over."""
    assert view.current is not None
    container_id, name = view.current.id, view.current.metadata.name
    # a runtime that knows of stop signals says which one it will send
    own_signal = stop_signal_of(container) if view.current.stop_signal == cri.SIGNAL_RUNTIME_DEFAULT else ""
    hook = (container.get("lifecycle") or {}).get("preStop")
    least = 0
    if hook and target is not None and ending.left:
        problem = await ending.within(asyncio.create_task(run_hook(context.runtime, hook, target)))
        if problem is None:
            problem = "it did not end within the grace period"
        if problem:
            tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {problem}", name)
        least = LEAST_AFTER_HOOK_SECONDS
    if turn is not None and ending.left:
        await ending.within(asyncio.ensure_future(turn()))
        least = LEAST_AFTER_HOOK_SECONDS if ending.left < LEAST_AFTER_HOOK_SECONDS and not ending.cut else least

    async def stop(seconds: int) -> None:
        nonlocal least
        seconds, least = max(seconds, least), 0
        try:
            if own_signal and seconds:
                await signal_first(context, container_id, own_signal, seconds)
                seconds = 0
            await context.runtime.stop_container(container_id, seconds)
        except RuntimeFailure as error:
            context.logger.warning("%s: stopping %s: %s", pod["metadata"]["name"], name, error)

    await ending.again_when_shortened(stop)


async def signal_first(context: NodeContext, container_id: str, name: str, seconds: int) -> None:
    """Send a container's own signal and wait until it has ended, at most for the seconds: a runtime without stop signals
    would send SIGTERM."""
    pid = await context.runtime.container_pid(container_id)
    if not pid:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, for_kernel(name))
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, gone.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await gone.wait()
    except ProcessLookupError:
        return
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def in_order(pod: Object, view: PodView) -> list[list[tuple[str, ContainerView]]]:
    """Return the running containers in the groups they are stopped in: all main ones, then each sidecar, last one first."""
    sidecars = [container["name"] for container in pod["spec"].get("initContainers") or ()]
    running = {name: seen for name, seen in view.containers.items() if seen.running}
    groups = [[(name, seen) for name, seen in running.items() if name not in sidecars]]
    groups += [[(name, running[name])] for name in reversed(sidecars) if name in running]
    return groups
