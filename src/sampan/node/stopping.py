"""How containers end: preStop, SIGTERM, and SIGKILL when the grace period is over; sidecars last, in reverse order.

Source: the pod termination page of Kubernetes, KEP-753 for the order of sidecars.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sampan.node.context import NodeContext
from sampan.node.hooks import run_hook
from sampan.node.pod_status import ContainerView, PodView
from sampan.node.probes import Target
from sampan.node.runtime import RuntimeFailure
from sampan.schema.objects import Object

LEAST_AFTER_HOOK_SECONDS = 2
Tell = Callable[[str, str, str, str], None]
"""``(event type, reason, message, container)``."""


def grace_of(pod: Object) -> int:
    """Return the seconds a pod has to end: those of its deletion, else its own."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    return int(asked if asked is not None else pod["spec"].get("terminationGracePeriodSeconds", 30))


async def stop_one(
    context: NodeContext, pod: Object, name: str, view: ContainerView, target: Target | None, grace: int, tell: Tell
) -> None:
    """Stop one running container. ``target`` is where its preStop hook goes."""
    assert view.current is not None
    begun = time.monotonic()
    container: Object = next((c for c in pod["spec"]["containers"] if c["name"] == name), {})
    hook = (container.get("lifecycle") or {}).get("preStop")
    if hook and target is not None and grace > 0:
        try:
            async with asyncio.timeout(grace):
                problem = await run_hook(context.runtime, hook, target)
        except TimeoutError:
            problem = "it did not end within the grace period"
        if problem:
            tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {problem}", name)
    left = max(grace - int(time.monotonic() - begun), LEAST_AFTER_HOOK_SECONDS if hook and grace else 0)
    try:
        await context.runtime.stop_container(view.current.id, left)
    except RuntimeFailure as error:
        context.logger.warning("%s: stopping %s: %s", pod["metadata"]["name"], name, error)


def in_order(pod: Object, view: PodView) -> list[list[tuple[str, ContainerView]]]:
    """Return the running containers in the groups they are stopped in: all main ones, then each sidecar, last one first."""
    sidecars = [container["name"] for container in pod["spec"].get("initContainers") or ()]
    running = {name: seen for name, seen in view.containers.items() if seen.running}
    groups = [[(name, seen) for name, seen in running.items() if name not in sidecars]]
    groups += [[(name, running[name])] for name in reversed(sidecars) if name in running]
    return groups
