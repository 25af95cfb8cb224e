"""What a pod needs before its first container: its volumes on disk, and a sandbox. Both are brought up to date at each look.

A crash between any two of these calls leaves nothing that is not found again: folders by the pod's uid, sandboxes by their
labels; a second sandbox gets the next attempt's number, and the runtime refuses two with one name.
"""

from __future__ import annotations

import asyncio
import time

from sampan.client.errors import ApiError
from sampan.client.resources import RUNTIME_CLASSES
from sampan.node import cri_pb2 as cri
from sampan.node.local_pod import LocalPod
from sampan.node.pod_config import NameTooLong, log_directory, sandbox_config
from sampan.node.pod_dns import formed
from sampan.node.pod_view import addresses_of
from sampan.node.resources import pod_limits
from sampan.node.runtime import RuntimeFailure
from sampan.node.user_namespaces import user_namespace
from sampan.node.volumes import Mounted, kinds
from sampan.schema.objects import Object
from sampan.security.refusals import no_user_namespace


class PodSetup:
    def __init__(self, local: LocalPod) -> None:
        self.volumes: dict[str, Mounted] = {}
        """Volumes that are ready, by name."""
        self.sandbox: cri.PodSandboxConfig | None = None
        """The configuration of the sandbox there is; None until the first look."""
        self._local = local
        self._handler = ""
        """The handler of the pod's RuntimeClass, once a sandbox was asked for."""

    async def prepare(self) -> None:
        """Make what is missing. Raises ``VolumeError``, ``RuntimeFailure``: the first problem, once both have come to an end.
        The next look would ask for the same sandbox while the runtime still makes it."""
        problems = await asyncio.gather(self._prepare_volumes(), self._prepare_sandbox(), return_exceptions=True)
        for problem in problems:
            if problem is not None:
                raise problem

    async def _prepare_volumes(self) -> None:
        """Set up what is missing and bring up to date what follows its objects, side by side, once the ConfigMaps and Secrets
        that the pod uses are known. The first problem is raised, once all have come to an end."""
        await self._local.context.materials.hold(self._local.uid, self._local.pod)
        entries = self._local.pod["spec"].get("volumes") or ()
        due = [entry for entry in entries if kinds.follows(entry) or not self._is_ready(entry["name"])]
        problems = await asyncio.gather(*map(self._prepare_volume, due), return_exceptions=True)
        for problem in problems:
            if problem is not None:
                raise problem

    def _is_ready(self, name: str) -> bool:
        ready = self.volumes.get(name)
        return ready is not None and time.monotonic() < ready.until

    async def _prepare_volume(self, entry: Object) -> None:
        local = self._local
        volume = kinds.volume_of(entry, local.pod, local.context, local.directory, local.ips)
        self.volumes[entry["name"]] = await kinds.set_up(volume)

    def user_namespace(self) -> cri.UserNamespace | None:
        """Return the pod's user namespace, None where it has the node's. Raises ``RuntimeFailure`` where it cannot be had."""
        if self._local.pod["spec"].get("hostUsers") is not False:
            return None
        if why := no_user_namespace(self._local.context.host, self._handler):
            raise RuntimeFailure(why)
        return user_namespace(self._local.directory)

    async def _runtime_handler(self) -> str:
        """Return the handler of the pod's RuntimeClass, ``""`` for the runtime's default. Raises ``RuntimeFailure``."""
        name = self._local.pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        try:
            found = await self._local.context.client.get(RUNTIME_CLASSES, name)
        except ApiError as error:
            if not error.is_not_found:
                raise
            raise RuntimeFailure(f'RuntimeClass "{name}" not found') from error
        return str(found["handler"])

    async def _prepare_sandbox(self) -> None:
        local, context, view = self._local, self._local.context, self._local.view
        if not view.sandbox_ready:
            self._handler = await self._runtime_handler()
        try:
            config = sandbox_config(
                local.pod,
                local.observer.attempt,
                context.pod_log_dir,
                context.cgroup,
                context.dns(),
                context.host,
                self.user_namespace(),
            )
        except NameTooLong as error:
            raise RuntimeFailure(str(error)) from error
        if self.sandbox is None or not view.sandbox_ready:
            self.sandbox = config
        if view.sandbox_ready:
            return
        for warning in formed(local.pod, context.dns()).warnings:
            context.events.warning(local.pod, "DNSConfigForming", warning)
        log_directory(context.pod_log_dir, local.pod).mkdir(parents=True, exist_ok=True)
        limits = pod_limits(local.pod, context.pod_pids_limit)
        await asyncio.to_thread(context.ensure_pod_cgroup, config.linux.cgroup_parent, limits)
        sandbox_id = await context.runtime.run_pod_sandbox(config, self._handler)
        local.owns(sandbox_id)
        status = await context.runtime.pod_sandbox_status(sandbox_id)
        view.sandbox_id, view.sandbox_ready, view.ips = sandbox_id, True, addresses_of(status)
        for container in view.containers.values():
            container.stale = container.current is not None
            container.ready = container.started = False
