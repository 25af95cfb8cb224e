"""How volumes go: whatever a pod has mounted is found on disk and in the list of mounts, so a node that died in the middle,
or never knew the pod, leaves nothing. Parts of volumes go before volumes, later mounts before earlier ones; nothing is
deleted below something that is still mounted, because that may be somebody's data.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from sampan.node import mounts
from sampan.node.context import NodeContext
from sampan.node.volumes import csi, image, loop_devices

FOLDERS = ("volume-subpaths", "volumes", "volumeDevices")
"""What a pod's volumes are in. Beside it are its containers' messages, which stay as long as the pod does."""


async def tear_down(context: NodeContext, pod_dir: Path) -> None:
    """Remove everything of a pod from this node. Raises ``OSError`` for what cannot be unmounted yet."""
    await release_volumes(context, pod_dir)
    await asyncio.to_thread(remove, pod_dir)


async def release_volumes(context: NodeContext, pod_dir: Path) -> None:
    """Remove the volumes of a pod that runs no more. Raises ``OSError`` for what cannot be unmounted yet."""
    if not has_volumes(pod_dir):
        return
    images = image.folders(pod_dir)
    await asyncio.to_thread(remove, pod_dir / FOLDERS[0])
    await csi.tear_down(context, pod_dir)
    files = notes(pod_dir, "")
    for name in FOLDERS:
        await asyncio.to_thread(remove, pod_dir / name)
    if files:
        await asyncio.to_thread(detach, files - notes(pod_dir.parent, "*/"))
    for folder in images:
        await image.forget(str(context.runtime.socket), folder)
    context.attaching.release(pod_dir.name)


def has_volumes(pod_dir: Path) -> bool:
    return any((pod_dir / name).exists() for name in FOLDERS)


def remove(folder: Path) -> None:
    """Unmount all that is in a folder, then remove it."""
    if folder.exists():
        mounts.unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def detach(files: set[Path]) -> None:
    """Let go of the devices of files that nobody has any more."""
    for file in files:
        device = loop_devices.attached(file)
        if device is not None:
            loop_devices.detach(device)


def notes(folder: Path, below: str) -> set[Path]:
    """Return what the block devices of one pod, or of all, are made of."""
    return {note.readlink() for note in folder.glob(f"{below}volumeDevices/*/*") if note.is_symlink()}
