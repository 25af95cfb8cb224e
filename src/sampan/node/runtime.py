"""The CRI client: one method a call, over gRPC on the runtime's Unix socket.

Requests and responses are the messages of ``cri.proto``. Calls that make things are limited to a few at a time: a runtime
that is asked for fifty sandboxes at once takes longer for all of them than for four and four. Source: CRI v1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from sampan.node import cri_pb2 as cri
from sampan.node.turns import Turns
from sampan.node.unix_channel import UnixChannel

MAKING_AT_ONCE = 4
START, END, CREATE, SANDBOX = range(4)
"""In which order calls have their turn: a pod that is nearly there comes before one that is not begun."""
RUNTIME = "/runtime.v1.RuntimeService/"
IMAGES = "/runtime.v1.ImageService/"
CONTAINERD_IMAGES = "/containerd.services.images.v1.Images/"
IN_KUBERNETES_NAMESPACE = {"containerd-namespace": "k8s.io"}
"""containerd keeps what CRI makes apart under this name."""
Answer = TypeVar("Answer")


class RuntimeFailure(Exception):
    """The runtime refused a call, or is not there; the message is its own. ``reason``: what the container's status says."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Unimplemented(RuntimeFailure):
    """The runtime has no such call: it is older than that, or no containerd."""


class Runtime:
    """A CRI runtime behind a Unix socket. Needs a running loop."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._channel = UnixChannel(socket)
        self._making = Turns(MAKING_AT_ONCE)

    async def call(
        self,
        path: str,
        request: Any,
        answer: type[Answer],
        timeout: float | None = 120,
        metadata: dict[str, str] | None = None,
    ) -> Answer:
        """Return the answer to one call. Raises ``RuntimeFailure``."""
        method = UnaryUnaryMethod(self._channel, path, type(request), answer)
        try:
            return await method(request, timeout=timeout, metadata=metadata)  # type: ignore[no-any-return]
        except GRPCError as error:
            kind = Unimplemented if error.status is Status.UNIMPLEMENTED else RuntimeFailure
            raise kind(error.message or error.status.name) from error
        except (OSError, StreamTerminatedError) as error:
            raise RuntimeFailure(f"runtime at {self.socket}: {error}") from error

    def close(self) -> None:
        self._channel.close()

    # runtime

    async def version(self) -> cri.VersionResponse:
        return await self.call(RUNTIME + "Version", cri.VersionRequest(), cri.VersionResponse, 5)

    async def status(self) -> cri.StatusResponse:
        return await self.call(RUNTIME + "Status", cri.StatusRequest(), cri.StatusResponse, 5)

    async def cgroup_driver(self) -> str:
        """Return how the runtime wants cgroups to be named, ``cgroupfs`` or ``systemd``; ``""`` where it does not say (CRI
        before Kubernetes 1.28). Source: KEP-4033."""
        try:
            answer = await self.call(
                RUNTIME + "RuntimeConfig", cri.RuntimeConfigRequest(), cri.RuntimeConfigResponse, 5
            )
        except Unimplemented:
            return ""
        return cri.CgroupDriver.Name(answer.linux.cgroup_driver).lower() if answer.HasField("linux") else ""

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, handler: str = "") -> str:
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        async with self._making.take(SANDBOX):
            answer = await self.call(RUNTIME + "RunPodSandbox", request, cri.RunPodSandboxResponse, 240)
        return str(answer.pod_sandbox_id)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        async with self._making.take(END):
            await self.call(RUNTIME + "StopPodSandbox", request, cri.StopPodSandboxResponse)

    async def kill_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox without grace for what still runs in it, which CRI leaves to the runtime: containerd kills it, CRI-O
        asks it to end and waits for two minutes."""
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(pod_sandbox_id=sandbox_id))
        for container in (await self.call(RUNTIME + "ListContainers", request, cri.ListContainersResponse)).containers:
            if container.state == cri.CONTAINER_RUNNING:
                await self.stop_container(container.id, 0)
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        async with self._making.take(END):
            await self.call(RUNTIME + "RemovePodSandbox", request, cri.RemovePodSandboxResponse)

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        answer = await self.call(RUNTIME + "PodSandboxStatus", request, cri.PodSandboxStatusResponse)
        return answer.status

    async def verbose_sandbox(self, sandbox_id: str) -> cri.PodSandboxStatusResponse:
        """Return a sandbox's status with what the runtime keeps: its pid, the request it was made by, its OCI spec."""
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        return await self.call(RUNTIME + "PodSandboxStatus", request, cri.PodSandboxStatusResponse)

    async def list_pod_sandboxes(self, labels: dict[str, str] | None = None) -> list[cri.PodSandbox]:
        request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels or {}))
        answer = await self.call(RUNTIME + "ListPodSandbox", request, cri.ListPodSandboxResponse)
        return list(answer.items)

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        request = cri.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox)
        async with self._making.take(CREATE):
            answer = await self.call(RUNTIME + "CreateContainer", request, cri.CreateContainerResponse)
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        async with self._making.take(START):
            await self.call(RUNTIME + "StartContainer", request, cri.StartContainerResponse)

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        request = cri.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        await self.call(RUNTIME + "StopContainer", request, cri.StopContainerResponse, timeout_seconds + 30)

    async def update_container_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        request = cri.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        await self.call(RUNTIME + "UpdateContainerResources", request, cri.UpdateContainerResourcesResponse)

    async def remove_container(self, container_id: str) -> None:
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self.call(RUNTIME + "RemoveContainer", request, cri.RemoveContainerResponse)

    async def list_containers(self, labels: dict[str, str] | None = None) -> list[cri.Container]:
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels or {}))
        answer = await self.call(RUNTIME + "ListContainers", request, cri.ListContainersResponse)
        return list(answer.containers)

    async def container_status(self, container_id: str, *, verbose: bool = False) -> cri.ContainerStatusResponse:
        """Return the status; ``verbose`` adds what the runtime keeps: its pid, the request it was made by, its OCI spec."""
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return await self.call(RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse)

    async def container_pid(self, container_id: str) -> int:
        """Return the pid of a container's first process; 0 where the runtime does not say it."""
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=True)
        answer = await self.call(RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse)
        try:
            return int(orjson.loads(answer.info.get("info", "{}")).get("pid", 0))
        except ValueError:
            return 0

    async def exec_sync(self, container_id: str, command: list[str], timeout_seconds: int) -> cri.ExecSyncResponse:
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_seconds)
        return await self.call(RUNTIME + "ExecSync", request, cri.ExecSyncResponse, timeout_seconds + 5)

    async def exec_url(self, request: cri.ExecRequest) -> str:
        return str((await self.call(RUNTIME + "Exec", request, cri.ExecResponse)).url)

    async def attach_url(self, request: cri.AttachRequest) -> str:
        return str((await self.call(RUNTIME + "Attach", request, cri.AttachResponse)).url)

    async def port_forward_url(self, sandbox_id: str) -> str:
        request = cri.PortForwardRequest(pod_sandbox_id=sandbox_id)
        return str((await self.call(RUNTIME + "PortForward", request, cri.PortForwardResponse)).url)

    async def container_stats(self) -> list[cri.ContainerStats]:
        request = cri.ListContainerStatsRequest()
        answer = await self.call(RUNTIME + "ListContainerStats", request, cri.ListContainerStatsResponse)
        return list(answer.stats)

    async def reopen_container_log(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self.call(RUNTIME + "ReopenContainerLog", request, cri.ReopenContainerLogResponse)

    # images

    async def list_images(self) -> list[cri.Image]:
        answer = await self.call(IMAGES + "ListImages", cri.ListImagesRequest(), cri.ListImagesResponse)
        return list(answer.images)

    async def image_status(self, image: str) -> cri.Image | None:
        """Return an image that is present, or None."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image))
        answer = await self.call(IMAGES + "ImageStatus", request, cri.ImageStatusResponse)
        return answer.image if answer.image.id else None

    async def pull_image(self, image: str, auth: cri.AuthConfig | None, sandbox: cri.PodSandboxConfig) -> str:
        request = cri.PullImageRequest(image=cri.ImageSpec(image=image), auth=auth, sandbox_config=sandbox)
        answer = await self.call(IMAGES + "PullImage", request, cri.PullImageResponse, 600)
        return str(answer.image_ref)

    async def remove_image(self, image: str) -> None:
        """Remove an image with all its names."""
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image))
        await self.call(IMAGES + "RemoveImage", request, cri.RemoveImageResponse)

    async def verbose_image(self, image: str) -> cri.ImageStatusResponse:
        """Return an image with what the runtime keeps of it (its configuration), without ``image`` where it is not there."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image), verbose=True)
        return await self.call(IMAGES + "ImageStatus", request, cri.ImageStatusResponse)

    # containerd's own image service

    async def stored_images(self) -> list[cri.StoredImage]:
        """Return containerd's records: each name of an image, and the manifest or index that it stands for."""
        request = cri.ListStoredImagesRequest()
        path = CONTAINERD_IMAGES + "List"
        return list(
            (await self.call(path, request, cri.ListStoredImagesResponse, metadata=IN_KUBERNETES_NAMESPACE)).images
        )

    async def untag_image(self, name: str) -> None:
        """Forget one name of an image."""
        request = cri.DeleteStoredImageRequest(name=name, sync=True)
        await self.call(CONTAINERD_IMAGES + "Delete", request, cri.Nothing, metadata=IN_KUBERNETES_NAMESPACE)

    async def image_filesystem(self) -> str:
        """Return a path on the filesystem that images are on; ``""`` where the runtime does not say it."""
        answer = await self.call(IMAGES + "ImageFsInfo", cri.ImageFsInfoRequest(), cri.ImageFsInfoResponse)
        found = [filesystem.fs_id.mountpoint for filesystem in answer.image_filesystems]
        return found[0] if found else ""

    # events

    async def exits(self) -> AsyncIterator[str]:
        """Yield the id of each container (or sandbox) whose main process ends, or that runs out of memory: by containerd's
        own service, by CRI's where there is no such. Raises ``RuntimeFailure`` where a runtime has neither."""
        try:
            async for container_id in self._containerd_exits():
                yield container_id
        except RuntimeFailure as error:
            if error.reason != Status.UNIMPLEMENTED.name:
                raise
            async for container_id in self._cri_exits():
                yield container_id

    async def _cri_exits(self) -> AsyncIterator[str]:
        path = RUNTIME + "GetContainerEvents"
        method = UnaryStreamMethod(self._channel, path, cri.GetEventsRequest, cri.ContainerEventResponse)
        try:
            async with method.open() as stream:
                await stream.send_message(cri.GetEventsRequest(), end=True)
                async for event in stream:
                    if event.container_event_type == cri.CONTAINER_STOPPED_EVENT:
                        yield event.container_id
        except GRPCError as error:
            raise RuntimeFailure(error.message or error.status.name, error.status.name) from error
        except (OSError, StreamTerminatedError) as error:
            raise RuntimeFailure(f"runtime at {self.socket}: {error}") from error

    async def _containerd_exits(self) -> AsyncIterator[str]:
        method = UnaryStreamMethod(
            self._channel, "/containerd.services.events.v1.Events/Subscribe", cri.SubscribeRequest, cri.Envelope
        )
        filters = ['topic=="/tasks/exit"', 'topic=="/tasks/oom"']
        try:
            async with method.open() as stream:
                await stream.send_message(cri.SubscribeRequest(filters=filters), end=True)
                async for envelope in stream:
                    task = cri.TaskEvent.FromString(envelope.event.value)
                    if task.id in ("", task.container_id):  # else what an exec (a probe) ran has ended
                        yield task.container_id
        except GRPCError as error:
            raise RuntimeFailure(error.message or error.status.name, error.status.name) from error
        except (OSError, StreamTerminatedError) as error:
            raise RuntimeFailure(f"runtime at {self.socket}: {error}") from error
