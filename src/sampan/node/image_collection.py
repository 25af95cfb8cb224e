"""Images that nobody uses are removed when the disk is full, or when they are too old.

An image is in use while a container of it exists, running or not, or a pod has it as a volume. Those unused longest go
first, until the disk is at the low threshold; none that has been here for less than the least age. When an image was used
last is kept in memory, as in a kubelet: after a restart every image counts as just seen. Source: the garbage collection page
of Kubernetes, KEP-4210, KEP-4639.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.image_credentials import PullRecords
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.runtime import Runtime, RuntimeFailure

logger = logging.getLogger("sampan.node")

ROUND_SECONDS = 300.0


@dataclass(slots=True)
class Seen:
    """One image: its size, when it was first seen and last used (monotonic)."""

    size: int
    since: float
    used: float


class Disk(NamedTuple):
    capacity: int
    available: int


def due(
    images: dict[str, Seen], in_use: Collection[str], disk: Disk, config: KubeletConfig, now: float
) -> tuple[list[str], list[str]]:
    """Return the images to be removed: those that are too old, and those that may go, in order, until the disk is at the low
    threshold. Pure."""
    unused = {name: seen for name, seen in images.items() if name not in in_use}
    age = config.image_maximum_gc_age
    old = [name for name, seen in unused.items() if age and now - seen.used > age]
    if (
        not disk.capacity
        or 100 * (disk.capacity - disk.available) < config.image_gc_high_threshold_percent * disk.capacity
    ):
        return old, []
    ready = [
        name for name, seen in unused.items() if name not in old and now - seen.since >= config.image_minimum_gc_age
    ]
    return old, sorted(ready, key=lambda name: (unused[name].used, unused[name].since))


def to_free(disk: Disk, low_percent: int) -> int:
    """Return how many bytes must go until the disk is at the low threshold."""
    return disk.capacity * (100 - low_percent) // 100 - disk.available


class ImageCollection:
    """Removes images. ``mounted`` returns the full names of those that are volumes of pods, ``tell`` is for events about the
    node (reason, message)."""

    def __init__(
        self,
        runtime: Runtime,
        records: PullRecords,
        config: KubeletConfig,
        mounted: Callable[[], Iterable[str]],
        tell: Callable[[str, str], None],
    ) -> None:
        self._runtime = runtime
        self._mounted = mounted
        self._records = records
        self._config = config
        self._tell = tell
        self._seen: dict[str, Seen] = {}
        self._path = ""

    async def run(self) -> None:
        """Look every five minutes until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(ROUND_SECONDS)

    async def look(self) -> None:
        """Remove what is due now. Raises ``RuntimeFailure``."""
        in_use = await self._observe()
        disk = await self.disk()
        old, ready = due(self._seen, in_use, disk, self._config, time.monotonic())
        for name in old:
            await self._remove(name)
        if ready:
            await self._free(ready, to_free(disk, self._config.image_gc_low_threshold_percent))

    async def remove_unused(self) -> int:
        """Remove every image that is not in use, whatever its age; return the bytes that they had: the disk is full."""
        in_use = await self._observe()
        return sum([await self._remove(name) for name in list(self._seen) if name not in in_use])

    async def disk(self) -> Disk:
        """Return the room of the filesystem that images are on."""
        self._path = self._path or await self._runtime.image_filesystem()
        try:
            found = os.statvfs(self._path)
        except OSError:
            return Disk(0, 0)
        return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    async def _observe(self) -> set[str]:
        """Bring what is known of the images up to date; return the ids of those in use."""
        images, containers = await asyncio.gather(self._runtime.list_images(), self._runtime.list_containers())
        names = {name: image.id for image in images for name in (*image.repo_tags, *image.repo_digests, image.id)}
        in_use = {names.get(ref, ref) for c in containers for ref in (c.image_ref, c.image.image)}
        in_use |= {names.get(ref, ref) for ref in self._mounted()}
        in_use |= {image.id for image in images if image.pinned or PAUSE_IMAGE in image.repo_tags}
        now = time.monotonic()
        for image in images:
            seen = self._seen.setdefault(image.id, Seen(int(image.size), now, now))
            if image.id in in_use:
                seen.used = now
        for gone in self._seen.keys() - {image.id for image in images}:
            del self._seen[gone]
            self._records.forget(gone)
        return in_use

    async def _free(self, names: list[str], wanted: int) -> None:
        freed = 0
        for name in names:
            if freed >= wanted:
                return
            freed += await self._remove(name)
        if freed < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only "
            )
            self._tell("FreeDiskSpaceFailed", message + f"found {freed} bytes eligible to free.")

    async def _remove(self, image_id: str) -> int:
        try:
            await self._runtime.remove_image(image_id)
        except RuntimeFailure as error:
            logger.warning("image %s: %s", image_id, error)
            return 0
        self._records.forget(image_id)
        seen = self._seen.pop(image_id, None)
        logger.info("image %s was removed: nobody used it", image_id)
        return seen.size if seen is not None else 0
