"""Starting one container: back-off, image, environment and mounts, made and started through CRI; then its postStart hook.

That a hook is still to run is noted beside the container's termination message before the container starts, so a node that
dies in between runs it when it is back (at least once, as Kubernetes promises). Hooks run beside the worker: it can still end
the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import check_non_root, container_config
from sampan.node.devices.allocation import NotEnough
from sampan.node.environment import ConfigError, environment_of
from sampan.node.hooks import run_hook
from sampan.node.images import ImageError
from sampan.node.local_pod import LocalPod
from sampan.node.pod_config import log_directory
from sampan.node.pod_plan import next_attempt
from sampan.node.pod_setup import PodSetup
from sampan.node.pod_view import ContainerView
from sampan.node.resources import linux_resources, oom_score
from sampan.node.restart_backoff import RestartBackoff, spoken
from sampan.node.runtime import RuntimeFailure
from sampan.node.volumes import VolumeError
from sampan.node.volumes.container_mounts import devices_of, mounts_of
from sampan.schema.objects import Object

RETRY_SECONDS = 2.0
REFRESH_SECONDS = 60.0


class ContainerStarter:
    """Starts the containers of one pod. ``kill(name, message)`` is called for one whose postStart hook failed."""

    def __init__(self, local: LocalPod, setup: PodSetup, kill: Callable[[str, str], None]) -> None:
        self._local = local
        self._setup = setup
        self._kill = kill
        self._backoff = RestartBackoff(local.context.kubelet.crash_loop_back_off_max)
        self._hooks: dict[str, str] = {}
        """postStart hooks that run: name → id of the instance."""

    async def start(self, container: Object) -> None:
        """Create and start the next instance of a container, or say in its view why it waits."""
        local, name = self._local, container["name"]
        view = local.view.of(name)
        if self._is_backed_off(name, view):
            return
        try:
            await self._create_and_start(container, view)
        except ImageError as error:
            self._wait(view, error.reason, str(error))
            final = error.reason == "InvalidImageName"
            left = REFRESH_SECONDS if final else local.context.images.seconds_left(container["image"], local.uid)
            local.wake_after(max(left, RETRY_SECONDS))
            if error.reason in ("ImagePullBackOff", "InvalidImageName"):
                local.tell("Warning", "Failed", f"Error: {error.reason}", name)
        except (ConfigError, VolumeError) as error:
            self._fail(name, view, "CreateContainerConfigError", str(error))
        except OSError as error:  # the disk is full, say: what the kubelet writes for a container cannot be written
            self._fail(name, view, "CreateContainerConfigError", str(error))
        except RuntimeFailure as error:
            self._fail(name, view, error.reason or "RunContainerError", str(error))
            await local.look()

    def _is_backed_off(self, name: str, view: ContainerView) -> bool:
        """Whether a container that has ended must wait; then its view says so."""
        left = 0.0
        if view.exited and view.current is not None and view.resized != view.current.id:
            left = self._backoff.left(name, view.current)
        if left <= 0:
            return False
        local = self._local
        metadata = local.pod["metadata"]
        where = f"{metadata['name']}_{metadata['namespace']}({local.uid})"
        pause = spoken(self._backoff.pause(name))
        self._wait(view, "CrashLoopBackOff", f"back-off {pause} restarting failed container={name} pod={where}")
        local.tell("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {where}", name)
        local.wake_after(left)
        return True

    def _wait(self, view: ContainerView, reason: str, message: str) -> None:
        view.waiting_reason, view.waiting_message = reason, message

    def _fail(self, name: str, view: ContainerView, reason: str, message: str) -> None:
        self._wait(view, reason, message)
        self._local.tell("Warning", "Failed", f"Error: {message}", name)
        self._local.wake_after(RETRY_SECONDS)

    async def _create_and_start(self, container: Object, view: ContainerView) -> None:
        local, context, name = self._local, self._local.context, container["name"]
        attempt = next_attempt(local.pod, name, view)
        config = await self._config(container, attempt)
        if view.current is not None and view.current.state == cri.CONTAINER_CREATED:
            await context.runtime.remove_container(view.current.id)
            view.current = view.last
        assert self._setup.sandbox is not None
        (log_directory(context.pod_log_dir, local.pod) / name).mkdir(parents=True, exist_ok=True)
        try:
            container_id = await context.runtime.create_container(local.view.sandbox_id, config, self._setup.sandbox)
        except RuntimeFailure as error:
            raise RuntimeFailure(str(error), "CreateContainerError") from error
        local.owns(container_id)
        local.tell("Normal", "Created", f"Container created: {name}", name)
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._hook_mark(name, attempt).touch()
        await context.runtime.start_container(container_id)
        local.tell("Normal", "Started", f"Container started: {name}", name)
        view.last, view.last_message = view.current, view.message
        view.current, view.stale = await local.observer.status(container_id), False
        view.waiting_reason = view.waiting_message = view.message = ""
        view.hook_pending = bool(hook)
        if view.exited:  # it was quicker than we
            local.wake()

    async def _config(self, container: Object, attempt: int) -> cri.ContainerConfig:
        """Return all that CRI is to know of the next instance; its image is there then."""
        local, context, pod, name = self._local, self._local.context, self._local.pod, container["name"]
        assert self._setup.sandbox is not None
        image = await context.images.ensure(
            container,
            self._setup.sandbox,
            context.pull_secrets(pod),
            lambda kind, reason, text: local.tell(kind, reason, text, name),
        )
        check_non_root(pod, container, image)
        lookup, facts = context.lookup(pod["metadata"]["namespace"]), context.facts(local.ips)
        environment = environment_of(pod, container, lookup, context.service_links(pod), facts, self._env_file)
        devices = devices_of(container, self._setup.volumes)
        recursive = context.host.recursive_read_only
        mounts = await asyncio.to_thread(
            mounts_of,
            container,
            self._setup.volumes,
            environment,
            local.directory,
            recursive=recursive,
            parts=context.own_runtime,
        )
        mounts += context.own_mounts(pod, container, local.directory, attempt, local.ips)
        userns = self._setup.user_namespace()
        score = oom_score(pod, container, context.memory_bytes, context.host.least_oom_score)
        context.memory.begin(local.uid, pod, name)
        own = context.cpus.of(local.uid, name), context.memory.of(local.uid, name)
        resources = linux_resources(container, score, *own)
        config = container_config(
            pod,
            container,
            attempt,
            image,
            environment,
            mounts,
            context.host,
            userns,
            resources,
            self._target_of(container),
        )
        config.devices.extend(devices)
        try:
            await context.devices.give(local.uid, container, config)
        except NotEnough as error:
            raise ConfigError(f"Allocate failed due to {error}, which is unexpected") from error
        return config

    def _env_file(self, volume: str, path: str) -> str | None:
        """Return the text of a file that another container left in a volume."""
        mounted = self._setup.volumes.get(volume)
        if mounted is None:
            return None
        inside = os.path.realpath(mounted.path / path)
        if not inside.startswith(f"{os.path.realpath(mounted.path)}/"):  # a link of the container's making leads out
            return None
        try:
            return Path(inside).read_text(errors="replace")
        except OSError:
            return None

    def _target_of(self, container: Object) -> str:
        """Return the id of the container whose processes an ephemeral one is to see. Raises ``ConfigError`` while that does
        not run."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        target = self._local.view.of(name)
        if target.current is None or not target.running:
            raise ConfigError(f'unable to find target container "{name}"')
        return str(target.current.id)

    # postStart

    def _hook_mark(self, name: str, attempt: int) -> Path:
        return self._local.directory / "containers" / name / f"{attempt}.postStart"

    def look_at_hook(self, group: asyncio.TaskGroup, container: Object) -> None:
        """Run the postStart hook of a running container if that is still to be done; say in its view whether it is."""
        name = container["name"]
        hook, view = (container.get("lifecycle") or {}).get("postStart"), self._local.view.of(name)
        view.hook_pending = bool(hook) and self._hook_mark(name, view.restarts).exists()
        if hook and view.hook_pending and view.current is not None and self._hooks.get(name) != view.current.id:
            self._hooks[name] = view.current.id
            group.create_task(self._post_start(container, hook), name=f"postStart-{name}")

    async def _post_start(self, container: Object, hook: Object) -> None:
        name, target = container["name"], self._local.target(container)
        assert target is not None
        mark = self._hook_mark(name, self._local.view.of(name).restarts)
        try:
            problem = await run_hook(self._local.context.runtime, hook, target)
        finally:
            self._hooks.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            mark.unlink()
        if problem:
            self._local.tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {problem}", name)
            self._kill(name, "FailedPostStartHook")
        self._local.wake()
