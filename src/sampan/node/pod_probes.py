"""The probes of a pod's running containers: started with a container, dropped with it, their verdicts asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.node.probes import ContainerProbes, Target
from sampan.node.runtime import Runtime


class PodProbes:
    """``wake`` is called when a verdict changes, ``kill(container, message, grace)`` when a container is to be restarted
    (``grace``: the probe's own seconds for that, or None), ``tell`` for events (type, reason, message, container)."""

    def __init__(
        self,
        runtime: Runtime,
        wake: Callable[[], None],
        kill: Callable[[str, str, int | None], None],
        tell: Callable[[str, str, str, str], None],
    ) -> None:
        self._runtime, self._wake, self._kill, self._tell = runtime, wake, kill, tell
        self.changed = asyncio.Event()
        """Set when a verdict has changed."""
        self._running: dict[str, tuple[ContainerProbes, asyncio.Task[None]]] = {}

    def watch(
        self, group: asyncio.TaskGroup, name: str, target: Target, *, started: bool = False, ready: bool = False
    ) -> ContainerProbes:
        """Return the probes of a running container; they are begun when it is a new instance, from what was found of it
        before (``started``, ``ready``)."""
        known = self._running.get(name)
        if known is None or known[0].target.container_id != target.container_id:
            self.drop(name)

            def fail(kind: str, message: str) -> None:
                own = target.container[f"{kind}Probe"].get("terminationGracePeriodSeconds")
                self._kill(name, f"Container {name} failed {kind} probe, will be restarted", own)

            def unhealthy(kind: str, message: str) -> None:
                self._tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {message}", name)

            probes = ContainerProbes(
                self._runtime, target, self._changed, fail, unhealthy, started=started, ready=ready
            )
            known = (probes, group.create_task(probes.run(), name=f"probes-{name}"))
            self._running[name] = known
        return known[0]

    def _changed(self) -> None:
        self.changed.set()
        self._wake()

    def end(self, name: str) -> None:
        """A container is being stopped: from now on only whether it is ready is asked, if it has started."""
        known = self._running.get(name)
        if known is not None and known[0].started:
            known[0].end()
        else:
            self.drop(name)

    def ready(self, name: str) -> bool:
        """Whether a container's probes say that it is ready; False for one that has none."""
        known = self._running.get(name)
        return known is not None and known[0].ready

    def drop(self, name: str) -> None:
        known = self._running.pop(name, None)
        if known is not None:
            known[1].cancel()

    def drop_all(self) -> None:
        for name in list(self._running):
            self.drop(name)
