"""What a pod needs before its first container: its volumes on disk, and a sandbox. Both are brought up to date at each look.

A crash between any two of these calls leaves nothing that is not found again: folders by the pod's uid, sandboxes by their
labels; a second sandbox gets the next attempt's number, and the runtime refuses two with one name.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node import volumes
from sampan.node.local_pod import LocalPod
from sampan.node.pod_config import log_directory, sandbox_config
from sampan.node.runtime import RuntimeFailure
from sampan.node.user_namespaces import user_namespace
from sampan.security.refusals import NO_USER_NAMESPACES


class PodSetup:
    def __init__(self, local: LocalPod) -> None:
        self.folders: dict[str, Path] = {}
        """Volumes that are ready, by name."""
        self.sandbox: cri.PodSandboxConfig | None = None
        """The configuration of the sandbox there is; None until the first look."""
        self._local = local

    async def prepare(self) -> None:
        """Make what is missing. Raises ``VolumeError``, ``RuntimeFailure``."""
        await asyncio.gather(self._prepare_volumes(), self._prepare_sandbox())

    async def _prepare_volumes(self) -> None:
        local, context = self._local, self._local.context
        pod, spec = local.pod, local.pod["spec"]
        group = (spec.get("securityContext") or {}).get("fsGroup")
        lookup = context.lookup(pod["metadata"]["namespace"])
        facts = context.facts(local.view.ip)

        async def token_for(audience: str, seconds: int) -> str:
            return await context.tokens.token(pod, audience, seconds)

        for volume in spec.get("volumes") or ():
            if not volumes.is_written(volume):
                if volume["name"] not in self.folders:
                    self.folders[volume["name"]] = volumes.prepare(local.directory, pod, volume)
                continue
            files = await volumes.material_of(volume, pod, lookup, token_for, facts)
            folder = volumes.volume_path(local.directory, volume)
            volumes.write_material(folder, files, group)
            self.folders[volume["name"]] = folder

    def user_namespace(self) -> cri.UserNamespace | None:
        """Return the pod's user namespace, None where it has the node's. Raises ``RuntimeFailure`` where it cannot be had."""
        if self._local.pod["spec"].get("hostUsers") is not False:
            return None
        if not self._local.context.host.user_namespaces:
            raise RuntimeFailure(NO_USER_NAMESPACES)
        return user_namespace(self._local.directory)

    async def _prepare_sandbox(self) -> None:
        local, context, view = self._local, self._local.context, self._local.view
        config = sandbox_config(
            local.pod,
            local.observer.attempt,
            context.pod_log_dir,
            context.cgroup,
            context.dns(),
            context.host,
            self.user_namespace(),
        )
        if self.sandbox is None or not view.sandbox_ready:
            self.sandbox = config
        if view.sandbox_ready:
            return
        log_directory(context.pod_log_dir, local.pod).mkdir(parents=True, exist_ok=True)
        context.ensure_pod_cgroup(config.linux.cgroup_parent)
        sandbox_id = await context.runtime.run_pod_sandbox(config)
        local.owns(sandbox_id)
        status = await context.runtime.pod_sandbox_status(sandbox_id)
        view.sandbox_id, view.sandbox_ready, view.ip = sandbox_id, True, status.network.ip
        for container in view.containers.values():
            container.stale = container.current is not None
            container.ready = container.started = False
