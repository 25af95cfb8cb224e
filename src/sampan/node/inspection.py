"""A node looked at from outside its process: what runtime and kernel hold of a pod's containers, and what is in its images.

Used by commands beside a running cluster. Everything is asked at the moment: of the runtime by its verbose answers (pid, CRI
request, OCI spec), of the kernel by /proc, of containerd's store by its files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import image_user
from sampan.node.host_features import host_features
from sampan.node.image_content import ImageContent
from sampan.node.images import ImageError, full_name
from sampan.node.oci_chain import Link
from sampan.node.pod_config import CONTAINER, UID
from sampan.node.process import PROC, read_cgroups, read_limits, read_mounts, read_process
from sampan.node.runtime import Runtime, Unimplemented
from sampan.schema.objects import Object
from sampan.security.host import Host
from sampan.security.image_user import ImageUser
from sampan.security.table import Process

TASKS = "io.containerd.runtime.v2.task/k8s.io"


class Running(NamedTuple):
    """A container or sandbox that the runtime has."""

    id: str
    name: str
    """The container's, "" for the sandbox."""
    pid: int
    """Of its first process, 0 where it has none (any more)."""
    info: Object
    """The runtime's own verbose answer: ``config`` (the CRI request), ``runtimeSpec``, ``snapshotKey``, ``runtimeType`` …"""


class PodOnNode(NamedTuple):
    sandbox: Running
    containers: list[Running]
    """The newest instance of each."""


class Inspection:
    """``netns``: the node's network namespace; ``kubelet_dir``: where profiles of type Localhost are; ``containerd_dir`` and
    ``bundles``: where containerd keeps what stays and what runs."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        containerd_dir: Path,
        bundles: Path,
        netns: Path,
        kubelet_dir: Path,
        seccomp_default: bool = False,
    ) -> None:
        self.runtime = runtime
        self._containerd_dir = containerd_dir
        self._bundles = bundles
        self._netns = netns
        self._kubelet_dir = kubelet_dir
        self._seccomp_default = seccomp_default

    async def host(self) -> Host:
        profiles = self._kubelet_dir / "seccomp"
        return host_features(await self.runtime.status(), profiles, seccomp_default=self._seccomp_default)

    async def content(self, image: str) -> ImageContent | None:
        """Return what is in an image, by its name or the id of its configuration; None where it is not there."""
        names = {image}
        with contextlib.suppress(ImageError):
            names.add(full_name(image))
        for stored in await self.runtime.stored_images():
            if stored.name in names or stored.target.digest == image:
                return ImageContent(self._containerd_dir, stored.target.digest)
        return None

    async def image_users(self, spec: Object) -> dict[str, ImageUser]:
        """Return what the images of a pod say of users, of those that are there, by the image's name in the pod."""
        kinds = ("initContainers", "containers", "ephemeralContainers")
        found = {}
        for image in {container.get("image", "") for kind in kinds for container in spec.get(kind) or ()}:
            try:
                content = await self.content(image)
                user = content.user() if content is not None else None
            except Unimplemented:  # no containerd: CRI says as much of an image's user
                present = await self.runtime.image_status(image)
                user = image_user(present) if present is not None else None
            if user is not None:
                found[image] = user
        return found

    async def pod(self, uid: str) -> PodOnNode | None:
        """Return what the runtime has of a pod, None where it has no sandbox of it."""
        sandboxes = await self.runtime.list_pod_sandboxes({UID: uid})
        if not sandboxes:
            return None
        newest = max(sandboxes, key=lambda sandbox: sandbox.created_at)
        answer = await self.runtime.verbose_sandbox(newest.id)
        sandbox = running(newest.id, "", answer.info)
        latest: dict[str, cri.Container] = {}
        for container in await self.runtime.list_containers({UID: uid}):
            name = container.labels.get(CONTAINER, "")
            if name not in latest or container.metadata.attempt > latest[name].metadata.attempt:
                latest[name] = container
        found = []
        for name, container in latest.items():
            status = await self.runtime.container_status(container.id, verbose=True)
            alive = status.status.state == cri.CONTAINER_RUNNING
            one = running(container.id, name, status.info)
            found.append(one if alive else one._replace(pid=0))
        return PodOnNode(sandbox, found)

    def processes(self, pod: PodOnNode) -> dict[str, Process]:
        """Return what the kernel says of the containers' first processes, by the container's name."""
        node, found = PROC / "self", {}
        for container in pod.containers:
            if container.pid:
                found[container.name] = read_process(container.pid, node, pod.sandbox.pid, self._netns)
        return found

    def bundle(self, container: Running) -> Path:
        """Return the folder of a container's OCI bundle."""
        return self._bundles / TASKS / container.id

    def _oci_config(self, container: Running) -> Object:
        """Return the OCI runtime's ``config.json``: the bundle's own, or what another runtime than ours tells of it."""
        file = self.bundle(container) / "config.json"
        told: Object = orjson.loads(file.read_bytes()) if file.exists() else container.info["runtimeSpec"]
        return told

    def link(self, pod: Object, here: PodOnNode, container: Running) -> Link:
        """Return a running container with everything below it. Raises ``OSError`` when its process is gone."""
        folder = PROC / str(container.pid)
        kinds = ("initContainers", "containers", "ephemeralContainers")
        of_pod = (one for kind in kinds for one in pod["spec"].get(kind) or () if one["name"] == container.name)
        cgroups = read_cgroups(folder)
        return Link(
            spec=pod["spec"],
            container=next(of_pod, {}),
            cri=container.info.get("config") or {},
            oci=self._oci_config(container),
            process=read_process(container.pid, PROC / "self", here.sandbox.pid, self._netns),
            cgroups=cgroups,
            limits=read_limits(cgroups),
            mounts=read_mounts(folder),
            command=(folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
        )


def running(id: str, name: str, info: Any) -> Running:
    told: Object = orjson.loads(info["info"]) if "info" in info else {}
    return Running(id, name, int(told.get("pid", 0)), told)
