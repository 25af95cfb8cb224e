"""What the runtime says of one pod, kept in a ``PodView``: its sandbox, and the last two instances of each container.

Everything is found by labels, so after a restart of the node the same pod is seen again. Older instances are removed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import orjson

from sampan.logs.reading.container_log import tail_of
from sampan.node import cri_pb2 as cri
from sampan.node.container_config import MESSAGE_POLICY
from sampan.node.context import NodeContext
from sampan.node.pod_config import CONTAINER, NAME, NAMESPACE, UID
from sampan.node.pod_view import PodView, addresses_of

MESSAGE_BYTES = 4096
UNTIL_RUNTIME_KNOWS_SECONDS = 2.0
"""How long after an event of its end a container may still be said to run. One that goes on lost a process, not itself."""


class PodObserver:
    """Looks at one pod. ``view`` is what was seen last; ``attempt`` the number of the next sandbox."""

    def __init__(self, context: NodeContext, uid: str, pod_dir: Path) -> None:
        self.view = PodView()
        self.attempt = 0
        self._stopped: set[str] = set()
        """Sandboxes that are no longer the pod's, and were stopped."""
        self.ended: dict[str, float] = {}
        """Containers whose end was announced, and which the runtime still calls running (it learns of it when we do), with
        when it must have learnt of it."""
        self._context = context
        self._uid = uid
        self._pod_dir = pod_dir
        self._finished: dict[str, cri.ContainerStatus] = {}
        self._users: dict[str, cri.ContainerUser] = {}
        """Who the first process of each container is."""

    def on_exit(self, container_id: str) -> None:
        self.ended[container_id] = time.monotonic() + UNTIL_RUNTIME_KNOWS_SECONDS

    async def look(self) -> list[str]:
        """Bring the view up to date; return the ids of everything the pod has. Raises ``RuntimeFailure``."""
        runtime, labels = self._context.runtime, {UID: self._uid}
        sandboxes, containers = await asyncio.gather(
            runtime.list_pod_sandboxes(labels), runtime.list_containers(labels)
        )
        await self._take_sandbox(sandboxes)
        left = [sandbox.id for sandbox in sandboxes if sandbox.id != self.view.sandbox_id]
        for sandbox_id in left:  # it died, or a crash of this node left two
            if sandbox_id not in self._stopped:
                await runtime.kill_pod_sandbox(sandbox_id)
                self._stopped.add(sandbox_id)
        if any(c.state == cri.CONTAINER_RUNNING and c.pod_sandbox_id in left for c in containers):
            containers = await runtime.list_containers(labels)
        by_name: dict[str, list[cri.Container]] = {}
        for container in containers:
            by_name.setdefault(container.labels.get(CONTAINER, ""), []).append(container)
        newest = max(sandboxes, key=lambda sandbox: sandbox.created_at, default=None)
        used = {container.pod_sandbox_id for container in containers} | {newest.id if newest is not None else ""}
        for sandbox_id in self._stopped - used:  # no instance that is still told of ran in it
            await runtime.remove_pod_sandbox(sandbox_id)
            self._context.owners.pop(sandbox_id, None)
            self._stopped.discard(sandbox_id)
        for name, instances in by_name.items():
            instances.sort(key=lambda c: c.metadata.attempt, reverse=True)  # a runtime lists them in any order
            await self._look_at(name, instances)
            now = self.view.sandbox_id or (newest.id if newest is not None else "")
            self.view.of(name).stale = instances[0].pod_sandbox_id != now
        for name in self.view.containers.keys() - by_name.keys():  # collected, or lost with the runtime's state
            self.view.of(name).current = self.view.of(name).last = None
        return [*(sandbox.id for sandbox in sandboxes), *(container.id for container in containers)]

    async def _take_sandbox(self, sandboxes: list[cri.PodSandbox]) -> None:
        """Take the newest of the sandboxes that are ready as the pod's."""
        view = self.view
        live = [sandbox for sandbox in sandboxes if sandbox.state == cri.SANDBOX_READY]
        self.attempt = max((sandbox.metadata.attempt + 1 for sandbox in sandboxes), default=0)
        newest = max(live, key=lambda sandbox: sandbox.created_at, default=None)
        if newest is None:
            view.sandbox_id, view.sandbox_ready = "", False
        elif newest.id != view.sandbox_id:
            status = await self._context.runtime.pod_sandbox_status(newest.id)
            view.sandbox_id, view.sandbox_ready, view.ips = newest.id, True, addresses_of(status)

    async def _look_at(self, name: str, instances: list[cri.Container]) -> None:
        view = self.view.of(name)
        view.current = await self.status(instances[0].id)
        view.last = await self.status(instances[1].id) if len(instances) > 1 else None
        for old in instances[2:]:
            self._finished.pop(old.id, None)
            self._users.pop(old.id, None)
            self._context.owners.pop(old.id, None)
            await self._context.runtime.remove_container(old.id)
            self._remove_files(name, old)
        if not view.running:
            self.ended.pop(view.current.id, None)
        view.message = self._message(view.current) if view.exited else ""
        view.last_message = self._message(view.last) if view.last is not None else ""

    def _remove_files(self, name: str, old: cri.Container) -> None:
        """Remove the logs and the message of an instance that is told of no more: a pod may crash for weeks."""
        attempt = old.metadata.attempt
        owner = f"{old.labels.get(NAMESPACE, '')}_{old.labels.get(NAME, '')}_{self._uid}"
        logs = (self._context.pod_log_dir / owner / name).glob(f"{attempt}.log*")
        for file in (*logs, self._pod_dir / "containers" / name / str(attempt)):
            file.unlink(missing_ok=True)

    def still_ending(self) -> bool:
        """Whether a container that has ended is still said to run."""
        running = {
            view.current.id for view in self.view.containers.values() if view.running and view.current is not None
        }
        now = time.monotonic()
        return any(now < self.ended.get(container_id, 0.0) for container_id in running)

    async def status(self, container_id: str) -> cri.ContainerStatus:
        """Return a container's status; that of one that has ended does not change any more."""
        known = self._finished.get(container_id)
        if known is None:
            new = container_id not in self._users
            answer = await self._context.runtime.container_status(container_id, verbose=new)
            known = answer.status
            if new:
                self._users[container_id] = user_of(answer)
            known.user.CopyFrom(self._users[container_id])
            if known.state == cri.CONTAINER_EXITED:
                self._finished[container_id] = known
        return known

    def _message(self, status: cri.ContainerStatus) -> str:
        """Return a container's termination message: its file, or the end of its log where the policy says so."""
        for mount in status.mounts:
            if mount.host_path.startswith(f"{self._pod_dir}/containers/"):
                with contextlib.suppress(OSError):
                    text = Path(mount.host_path).read_bytes()[-MESSAGE_BYTES:].decode(errors="replace")
                    if text:
                        return text
        fallback = status.annotations.get(MESSAGE_POLICY) == "FallbackToLogsOnError"
        if fallback and status.exit_code != 0 and status.log_path:
            return tail_of(Path(status.log_path), lines=80, size_bytes=2048)
        return ""


def user_of(answer: cri.ContainerStatusResponse) -> cri.ContainerUser:
    """Return who a container's first process is: as the runtime says, or as its OCI spec has it (containerd before 2.0)."""
    if answer.status.HasField("user"):
        return answer.status.user
    info = answer.info.get("info")
    spec = (orjson.loads(info).get("runtimeSpec") or {}) if info else {}
    user = (spec.get("process") or {}).get("user")
    if user is None:
        return cri.ContainerUser()
    groups = user.get("additionalGids") or ()
    return cri.ContainerUser(
        linux=cri.LinuxContainerUser(uid=user.get("uid", 0), gid=user.get("gid", 0), supplemental_groups=groups)
    )
