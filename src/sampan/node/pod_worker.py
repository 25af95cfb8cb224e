"""One task a pod: compares what should be with what the runtime says, and does the next thing.

It is woken by a change of the Pod, the exit of a container, a verdict of a probe or a timer for back-off; it then looks at
the runtime's list of this pod's sandboxes and containers, so a restart of the node continues where it was, and nothing is
made twice. ``sync`` is the whole life of a pod: volumes and sandbox, init containers in order, containers, status; and
``terminate`` its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.resources import PODS
from sampan.node import cri_pb2 as cri
from sampan.node import volumes
from sampan.node.container_config import (
    HASH,
    check_non_root,
    container_config,
    spec_hash,
    supplemental_groups,
)
from sampan.node.context import NodeContext
from sampan.node.environment import ConfigError, environment_of
from sampan.node.hooks import run_hook
from sampan.node.images import ImageError
from sampan.node.pod_config import UID, every_container, log_directory, sandbox_config
from sampan.node.pod_observer import PodObserver
from sampan.node.pod_probes import PodProbes
from sampan.node.pod_status import (
    ContainerView,
    initialized,
    is_sidecar,
    phase_of,
    restart_wanted,
    status_of,
)
from sampan.node.probes import Target
from sampan.node.restart_backoff import RestartBackoff, spoken
from sampan.node.runtime import RuntimeFailure
from sampan.node.stopping import Ending, grace_of, in_order, stop_one
from sampan.node.volumes import VolumeError
from sampan.schema.objects import Object

REFRESH_SECONDS = 60.0
"""How often written volumes are compared with what they name, beside the changes that wake the worker (tokens expire)."""
RETRY_SECONDS = 2.0
UNTIL_RUNTIME_KNOWS_SECONDS = 0.02


class PodWorker:
    """The life of one pod on this node."""

    def __init__(self, context: NodeContext, pod: Object) -> None:
        self.context = context
        self.pod = pod
        self.observer = PodObserver(context, str(pod["metadata"]["uid"]), context.pod_dir(pod))
        self.view = self.observer.view
        self.awake = asyncio.Event()
        self.awake.set()
        self._folders: dict[str, Path] = {}
        self._sandbox: cri.PodSandboxConfig | None = None
        self._probes = PodProbes(
            context.runtime, self.wake, lambda name, text: self._kill(name, self.view.of(name), text), self.tell
        )
        self._due: asyncio.TimerHandle | None = None
        self._written_status: Object | None = None
        self._group: asyncio.TaskGroup | None = None
        self._killed: dict[str, str] = {}
        self._backoff = RestartBackoff()
        self._deadline_told = False
        self._ending: Ending | None = None
        """Set while everything of the pod is being stopped."""

    @property
    def key(self) -> str:
        metadata = self.pod["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def pod_dir(self) -> Path:
        return self.context.pod_dir(self.pod)

    def update(self, pod: Object) -> None:
        """Take over a newer state of the Pod."""
        self.pod = pod
        if self._ending is not None:
            self._ending.shorten(grace_of(pod))
        self.awake.set()

    def wake(self) -> None:
        self.awake.set()

    def on_exit(self, container_id: str) -> None:
        """Look at a container that has ended, until the runtime says so too (it learns of it when we do)."""
        self.observer.on_exit(container_id)
        self.awake.set()

    def wake_after(self, seconds: float) -> None:
        """Wake at the latest after ``seconds``; an earlier wake-up that is set already stays."""
        loop = asyncio.get_running_loop()
        if self._due is not None and not self._due.cancelled() and self._due.when() <= loop.time() + seconds:
            return
        if self._due is not None:
            self._due.cancel()
        self._due = loop.call_later(seconds, self.awake.set)

    async def run(self) -> None:
        """Live until the pod is gone from the API and from this node."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._live()
                self._probes.drop_all()
        finally:
            if self._due is not None:
                self._due.cancel()

    async def _live(self) -> None:
        while True:
            await self.awake.wait()
            self.awake.clear()
            if self._due is not None:
                self._due.cancel()
                self._due = None
            try:
                if "deletionTimestamp" in self.pod["metadata"]:
                    await self._terminate()
                    return
                await self._sync()
            except RuntimeFailure as error:
                self.context.logger.warning("%s: %s", self.key, error)
                self.wake_after(RETRY_SECONDS)
            except ApiError as error:
                if error.is_not_found:
                    await self._clean_up()
                    return
                self.context.logger.warning("%s: %s", self.key, error)
                self.wake_after(RETRY_SECONDS)
            except OSError as error:
                self.context.logger.warning("%s: %s", self.key, error)
                self.wake_after(RETRY_SECONDS)

    def tell(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about the pod, or one of its containers."""
        field = ""
        if container:
            inits = {c["name"] for c in self.pod["spec"].get("initContainers") or ()}
            field = f"spec.{'initContainers' if container in inits else 'containers'}{{{container}}}"
        self.context.events.record(self.pod, kind, reason, message, field)

    # one look

    async def _sync(self) -> None:
        await self._observe()
        phase = phase_of(self.pod, self.view)
        if phase in ("Succeeded", "Failed"):
            await self._finish()
            return
        if self._past_deadline():
            await self._finish()
            return
        await self.context.materials.hold(self.uid, self.pod)
        try:
            await asyncio.gather(self._prepare_volumes(), self._prepare_sandbox())
        except VolumeError as error:
            self.tell("Warning", "FailedMount", str(error))
            self.wake_after(RETRY_SECONDS)
            await self._report()
            return
        except RuntimeFailure as error:
            self.tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self.wake_after(RETRY_SECONDS)
            await self._report()
            return
        await self._start_containers()
        await self._report()
        if phase_of(self.pod, self.view) in ("Succeeded", "Failed"):
            await self._finish()
        elif self._folders:
            self.wake_after(REFRESH_SECONDS)

    async def _observe(self) -> None:
        """Bring the view and the probes up to date with the runtime."""
        for owned in await self.observer.look():
            self.context.owners[owned] = self.on_exit
        if self.observer.still_ending():
            self.wake_after(UNTIL_RUNTIME_KNOWS_SECONDS)
        inits = {container["name"] for container in self.pod["spec"].get("initContainers") or ()}
        for name, view in self.view.containers.items():
            if view.running:
                self._watch_probes(name, view)
            else:
                self._probes.drop(name)
                view.started = False
                view.ready = view.succeeded and name in inits

    def _past_deadline(self) -> bool:
        """Whether activeDeadlineSeconds are over; then the pod fails."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        started = self.pod.get("status", {}).get("startTime")
        if limit is None or not started:
            return False
        left = limit - (time.time() - time.mktime(time.strptime(started, "%Y-%m-%dT%H:%M:%SZ")) + time.timezone)
        if left > 0:
            self.wake_after(left + 0.1)
            return False
        self.view.failed_reason = "DeadlineExceeded"
        self.view.failed_message = "Pod was active on the node longer than the specified deadline"
        if not self._deadline_told:
            self._deadline_told = True
            self.tell("Normal", "DeadlineExceeded", self.view.failed_message)
        return True

    # making

    async def _prepare_volumes(self) -> None:
        pod, spec = self.pod, self.pod["spec"]
        group = (spec.get("securityContext") or {}).get("fsGroup")
        lookup = self.context.lookup(pod["metadata"]["namespace"])
        facts = self.context.facts(self.view.ip)

        async def token_for(audience: str, seconds: int) -> str:
            return await self.context.tokens.token(pod, audience, seconds)

        for volume in spec.get("volumes") or ():
            if not volumes.is_written(volume):
                if volume["name"] not in self._folders:
                    self._folders[volume["name"]] = volumes.prepare(self.pod_dir, pod, volume)
                continue
            files = await volumes.material_of(volume, pod, lookup, token_for, facts)
            folder = volumes.volume_path(self.pod_dir, volume)
            volumes.write_material(folder, files, group)
            self._folders[volume["name"]] = folder

    async def _prepare_sandbox(self) -> None:
        context = self.context
        config = sandbox_config(self.pod, self.observer.attempt, context.pod_log_dir, context.cgroup, context.dns())
        if self._sandbox is None or not self.view.sandbox_ready:
            self._sandbox = config
        if self.view.sandbox_ready:
            return
        log_directory(context.pod_log_dir, self.pod).mkdir(parents=True, exist_ok=True)
        context.ensure_pod_cgroup(config.linux.cgroup_parent)
        sandbox_id = await context.runtime.run_pod_sandbox(config)
        context.owners[sandbox_id] = self.on_exit
        status = await context.runtime.pod_sandbox_status(sandbox_id)
        self.view.sandbox_id, self.view.sandbox_ready, self.view.ip = sandbox_id, True, status.network.ip
        for container in self.view.containers.values():
            if container.running:  # it belonged to a sandbox that died
                container.ready = container.started = False

    async def _start_containers(self) -> None:
        spec = self.pod["spec"]
        for container in spec.get("initContainers") or ():
            view = self.view.of(container["name"])
            if is_sidecar(container):
                if not view.running:
                    await self._start(container, view)
                if not self.view.of(container["name"]).started:
                    return
                continue
            if view.succeeded:
                continue
            if view.exited and not restart_wanted(self.pod, container, view):
                return
            if not view.running and not (initialized(self.pod, self.view)):
                await self._start(container, view)
            return
        everyone = [*spec["containers"], *(spec.get("ephemeralContainers") or ())]
        starts = []
        for container in everyone:
            view = self.view.of(container["name"])
            if view.running:
                self._replace_if_changed(container, view)
                continue
            ephemeral = container not in spec["containers"]
            if (
                view.current is None
                or view.current.state == cri.CONTAINER_CREATED
                or (view.exited and not ephemeral and restart_wanted(self.pod, container, view))
            ):
                starts.append(self._start(container, view))
        if starts:
            await asyncio.gather(*starts)

    def _replace_if_changed(self, container: Object, view: ContainerView) -> None:
        """A changed image restarts the container."""
        assert view.current is not None
        if view.current.annotations.get(HASH, "") not in ("", spec_hash(container)):
            self._kill(container["name"], view, f"Container {container['name']} definition changed, will be restarted")

    async def _start(self, container: Object, view: ContainerView) -> None:
        """Create and start the next instance of a container, or say why it waits."""
        name = container["name"]
        left = self._backoff.left(name, view.current) if view.exited and view.current is not None else 0.0
        if left > 0:
            view.waiting_reason = "CrashLoopBackOff"
            where = f"pod={self.pod['metadata']['name']}_{self.pod['metadata']['namespace']}({self.uid})"
            view.waiting_message = (
                f"back-off {spoken(self._backoff.pause(name))} restarting failed container={name} {where}"
            )
            self.tell("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {where[4:]}", name)
            self.wake_after(left)
            return
        try:
            await self._create_and_start(container, view)
        except ImageError as error:
            view.waiting_reason, view.waiting_message = error.reason, str(error)
            pause = 0.0 if error.reason == "InvalidImageName" else self.context.images.seconds_left(container["image"])
            self.wake_after(max(pause, RETRY_SECONDS) if error.reason != "InvalidImageName" else REFRESH_SECONDS)
            if error.reason in ("ImagePullBackOff", "InvalidImageName"):
                kind = "Warning"
                self.tell(kind, "Failed", f"Error: {error.reason}", name)
        except (ConfigError, VolumeError) as error:
            view.waiting_reason, view.waiting_message = "CreateContainerConfigError", str(error)
            self.tell("Warning", "Failed", f"Error: {error}", name)
            self.wake_after(RETRY_SECONDS)
        except RuntimeFailure as error:
            view.waiting_reason, view.waiting_message = "RunContainerError", str(error)
            self.tell("Warning", "Failed", f"Error: {error}", name)
            await self._observe()
            self.wake_after(RETRY_SECONDS)

    async def _create_and_start(self, container: Object, view: ContainerView) -> None:
        context, pod, name = self.context, self.pod, container["name"]
        assert self._sandbox is not None
        secrets = context.pull_secrets(pod)
        image = await context.images.ensure(
            container, self._sandbox, secrets, lambda kind, reason, text: self.tell(kind, reason, text, name)
        )
        check_non_root(pod, container, image)
        namespace = pod["metadata"]["namespace"]
        environment = environment_of(
            pod, container, context.lookup(namespace), context.service_links(pod), context.facts(self.view.ip)
        )
        restarts = 0
        if view.current is not None:
            restarts = view.current.metadata.attempt + 1
            if view.current.state == cri.CONTAINER_CREATED:  # this node died between making and starting it
                await context.runtime.remove_container(view.current.id)
                restarts, view.current = restarts - 1, view.last
        mounts = volumes.mounts_of(container, self._folders, environment)
        mounts += context.own_mounts(pod, container, self.pod_dir, restarts, self.view.ip)
        config = container_config(pod, container, restarts, image.id, environment, mounts, supplemental_groups(pod))
        (log_directory(context.pod_log_dir, pod) / name).mkdir(parents=True, exist_ok=True)
        container_id = await context.runtime.create_container(self.view.sandbox_id, config, self._sandbox)
        context.owners[container_id] = self.on_exit
        self.tell("Normal", "Created", f"Container created: {name}", name)
        await context.runtime.start_container(container_id)
        self.tell("Normal", "Started", f"Container started: {name}", name)
        view.last, view.last_message = view.current, view.message
        view.current = await context.runtime.container_status(container_id)
        view.waiting_reason = view.waiting_message = view.message = ""
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook and (problem := await run_hook(context.runtime, hook, self._target(container, view))):
            self.tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {problem}", name)
            self._kill(name, view, "FailedPostStartHook")
        self._watch_probes(name, view)
        if view.exited:  # it was quicker than we
            self.wake()

    # probes

    def _target(self, container: Object, view: ContainerView) -> Target:
        assert view.current is not None
        ip = self.context.node_ip if self.pod["spec"].get("hostNetwork") else self.view.ip
        return Target(container, view.current.id, ip)

    def _watch_probes(self, name: str, view: ContainerView) -> None:
        """Take over the verdicts of a running container's probes."""
        assert self._group is not None
        container = next((c for c in every_container(self.pod["spec"]) if c["name"] == name), None)
        if container is not None:
            probes = self._probes.watch(self._group, name, self._target(container, view))
            view.started, view.ready = probes.started, probes.ready

    def _kill(self, name: str, view: ContainerView, message: str) -> None:
        """Stop a running container; its exit wakes the worker."""
        assert self._group is not None
        if view.current is None or self._killed.get(name) == view.current.id:
            return
        self._killed[name] = view.current.id
        self.tell("Normal", "Killing", message, name)
        self._group.create_task(self._stop_one(name, view), name=f"stop-{self.key}-{name}")

    # the end

    async def _stop_one(self, name: str, view: ContainerView) -> None:
        spec = self.pod["spec"]
        container = next((c for c in spec["containers"] if c["name"] == name), None)
        target = self._target(container, view) if container else None
        ending = self._ending or Ending(grace_of(self.pod))
        await stop_one(self.context, self.pod, name, view, target, ending, self.tell)
        self.wake()

    async def _finish(self) -> None:
        """The pod has ended: stop what still runs (sidecars), release its sandbox, keep its logs and status."""
        await self._stop_everything()
        await self._observe()
        await self._report()
        if self.view.sandbox_id:
            await self.context.runtime.stop_pod_sandbox(self.view.sandbox_id)
            self.view.sandbox_ready = False

    async def _stop_everything(self) -> None:
        self._ending = Ending(grace_of(self.pod))
        for group in in_order(self.pod, self.view):
            for name, _ in group:
                self._probes.drop(name)
                self.tell("Normal", "Killing", f"Stopping container {name}", name)
            await asyncio.gather(*(self._stop_one(name, view) for name, view in group))

    async def _terminate(self) -> None:
        """The pod is being deleted: stop it gracefully, say how it ended, and let the API forget it."""
        await self._observe()
        await self._clean_up()
        metadata = self.pod["metadata"]
        with contextlib.suppress(ApiError):
            await self._report(force_terminal=True)
        try:
            await self.context.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=self.uid
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _clean_up(self) -> None:
        """Stop and remove everything of the pod on this node."""
        await self._stop_everything()
        runtime = self.context.runtime
        with contextlib.suppress(RuntimeFailure):
            await self._observe()
        for sandbox in await runtime.list_pod_sandboxes({UID: self.uid}):
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
        self.view.sandbox_ready = False
        await asyncio.to_thread(volumes.remove, self.pod_dir)
        await asyncio.to_thread(volumes.remove, log_directory(self.context.pod_log_dir, self.pod))
        if self._sandbox is not None:
            self.context.remove_pod_cgroup(self._sandbox.linux.cgroup_parent)

    # telling

    async def _report(self, *, force_terminal: bool = False) -> None:
        """Write the status when it says something new."""
        pod = self.pod
        status = status_of(pod, self.view, self.context.node_ip, timestamp())
        if force_terminal and status["phase"] == "Running":
            status["phase"] = pod.get("status", {}).get("phase", "Running")
        if status == self._written_status:
            return
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": self.uid}, "status": status}
        await self.context.client.patch(
            PODS, metadata["name"], patch, metadata["namespace"], type="merge", subresource="status"
        )
        self._written_status = status
