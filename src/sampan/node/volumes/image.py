"""image: the content of an OCI image or artifact, read-only, as a view of its snapshot that containerd mounts.

``ctr images mount`` keeps the view under the mount's own path, so that it is found again and removed with it. A runtime that
is not the cluster's own is asked to mount the image itself, by CRI (containerd from 2.1, CRI-O from 1.31 on).
Source: KEP-4639.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node import mounts
from sampan.node.images import ImageError, full_name
from sampan.node.volumes.local import run
from sampan.node.volumes.volume import Mounted, Volume, VolumeError
from sampan.schema.objects import Object

NAMESPACE = "k8s.io"


async def set_up(volume: Volume) -> Mounted:
    context, folder = volume.context, volume.folder
    if mounts.is_mounted(folder):
        return Mounted(folder, read_only=True)
    reference = volume.source.get("reference") or ""
    wanted = {"name": volume.name, "image": reference}
    if volume.source.get("pullPolicy"):
        wanted["imagePullPolicy"] = volume.source["pullPolicy"]
    uid = volume.pod["metadata"]["uid"]  # the back-off is this pod's, and is forgotten with it
    try:
        present = await context.images.ensure(
            wanted,
            cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(uid=uid)),
            context.pull_secrets(volume.pod),
            lambda kind, reason, text: context.events.record(volume.pod, kind, reason, text),
        )
    except ImageError as error:
        raise VolumeError(f'failed to get image volume "{volume.name}": {error.reason}: {error}') from error
    if not volume.can_mount:
        return Mounted(folder, cri.ImageSpec(image=present.id, user_specified_image=reference), read_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        await forget(str(context.runtime.socket), str(folder))  # a view whose mount went with a crash
    code, text = await run(*ctr(str(context.runtime.socket)), "mount", full_name(reference), str(folder))
    if code:
        raise volume.error(text.strip())
    return Mounted(folder, read_only=True)


def references(pod: Object) -> Iterator[str]:
    """Return the names of the images that a pod has as volumes."""
    for volume in pod["spec"].get("volumes") or ():
        if reference := (volume.get("image") or {}).get("reference"):
            with contextlib.suppress(ImageError):  # one that is no name was never pulled
                yield full_name(reference)


def folders(pod_dir: Path) -> list[str]:
    """Return the folders of a pod's image volumes."""
    return [str(folder) for folder in pod_dir.glob("volumes/kubernetes.io~image/*")]


async def forget(socket: str, folder: str) -> None:
    """Remove the view of a folder that is not mounted any more."""
    await run("ctr", "-a", socket, "-n", NAMESPACE, "snapshots", "rm", folder)


def ctr(socket: str) -> list[str]:
    return ["ctr", "-a", socket, "-n", NAMESPACE, "images"]
