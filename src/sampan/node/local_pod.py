"""A pod of this node as all that work on it share it: the Pod of now, what is known of it here, how to be called again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sampan.node.context import NodeContext
from sampan.node.pod_config import every_container
from sampan.node.pod_observer import PodObserver
from sampan.node.probes import Target
from sampan.schema.objects import Object


class LocalPod:
    """``desired`` is the newest state of the Pod; ``pod`` is the same with the resources that it was given, which is what all
    else works with. ``view`` is what the last look at the runtime found. ``fresh``: the runtime has
    nothing of the pod yet."""

    def __init__(self, context: NodeContext, pod: Object, *, fresh: bool = False) -> None:
        self.context = context
        self.desired = pod
        self.pod = context.allocations.applied(pod)
        self.observer = PodObserver(context, str(pod["metadata"]["uid"]), context.pod_dir(pod))
        self.view = self.observer.view
        self.view.runtime = context.runtime_name
        self.awake = asyncio.Event()
        self.awake.set()
        self.unseen = not fresh
        """Something may have happened in the runtime that the view does not show."""
        self.gone = False
        """The API does not know the pod any more: there is nobody to tell of its end."""
        self.over = asyncio.Event()
        """Set when nothing of the pod runs here any more, and its end was told."""
        self._due: asyncio.TimerHandle | None = None

    @property
    def key(self) -> str:
        metadata = self.pod["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def directory(self) -> Path:
        return self.context.pod_dir(self.pod)

    def update(self, pod: Object) -> None:
        self.desired = pod
        self.pod = self.context.allocations.applied(pod)

    def wake(self) -> None:
        """Have the worker look at the runtime and go on."""
        self.unseen = True
        self.awake.set()

    def nudge(self) -> None:
        """Have the worker go on with what it knows of the runtime: something else has changed."""
        self.awake.set()

    def wake_after(self, seconds: float) -> None:
        """Wake at the latest after ``seconds``; an earlier wake-up that is set already stays."""
        loop = asyncio.get_running_loop()
        if self._due is not None and not self._due.cancelled() and self._due.when() <= loop.time() + seconds:
            return
        self.forget_timer()
        self._due = loop.call_later(seconds, self.wake)

    def forget_timer(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def on_exit(self, container_id: str) -> None:
        """Look at a container that has ended, until the runtime says so too (it learns of it when we do)."""
        self.observer.on_exit(container_id)
        self.wake()

    async def look(self) -> None:
        """Bring the view up to date. Raises ``RuntimeFailure``."""
        self.unseen = False  # what happens from now on may be missed by this look
        try:
            for found in await self.observer.look():
                self.owns(found)
        except BaseException:
            self.unseen = True
            raise

    def owns(self, runtime_id: str) -> None:
        """Have the exits of a container or sandbox told here: said before it is started, so that none is missed."""
        self.context.owners[runtime_id] = self.on_exit

    def disown(self) -> None:
        """Have no exits told here any more."""
        for owned in [owned for owned, told in self.context.owners.items() if told == self.on_exit]:
            del self.context.owners[owned]

    def container(self, name: str) -> Object | None:
        return next((c for c in every_container(self.pod["spec"]) if c["name"] == name), None)

    @property
    def ips(self) -> tuple[str, ...]:
        """The pod's addresses: the node's, where it has the node's network."""
        return self.context.node_ips if self.pod["spec"].get("hostNetwork") else self.view.ips

    def target(self, container: Object) -> Target | None:
        """Return where probes and hooks of a container go; None where it was never made."""
        current = self.view.of(container["name"]).current
        if current is None:
            return None
        ip = next(iter(self.ips), "")
        return Target(container, current.id, ip)

    def told(self, name: str, container_id: str) -> Object:
        """Return what the API was told of an instance of a container; ``{}``: of this one nothing yet."""
        status = self.desired.get("status") or {}
        for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for entry in status.get(kind) or ():
                if entry["name"] == name and (entry.get("containerID") or "").endswith(f"://{container_id}"):
                    return dict(entry)
        return {}

    def tell(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about the pod, or one of its containers."""
        field = ""
        if container:
            spec = self.pod["spec"]
            kinds = ("initContainers", "ephemeralContainers")
            where = (k for k in kinds if any(c["name"] == container for c in spec.get(k) or ()))
            field = f"spec.{next(where, 'containers')}{{{container}}}"
        self.context.events.record(self.pod, kind, reason, message, field)
