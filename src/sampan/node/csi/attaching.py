"""Volumes that a controller attaches to this node before they can be mounted: the Node's status says which are there.

What is in use here is told in the same place, so that nothing is detached under a pod. The Node is followed only while
something waits. Source: kubernetes pkg/volume/csi (csi_attacher.go), core/v1 NodeStatus.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import NODES, VOLUME_ATTACHMENTS
from sampan.schema.objects import Object

ATTACHMENTS: ResourceType = VOLUME_ATTACHMENTS
SECONDS = 10.0
"""How long one look at a pod waits; the next look waits again."""


def unique_name(driver: str, handle: str) -> str:
    """Return the name of a volume in a Node's status."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def attachment_name(driver: str, handle: str, node: str) -> str:
    """Return the name of the VolumeAttachment of a volume to a node."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


class Attaching:
    def __init__(self, client: Client, node_name: str, on_use: Callable[[], None] = lambda: None) -> None:
        self.client, self.node_name, self.on_use = client, node_name, on_use
        self.in_use: dict[str, set[str]] = {}
        """Attached volumes that pods here use: unique name → uids of the pods."""

    def use(self, name: str, uid: str) -> None:
        """Note that a pod uses an attached volume, before it is mounted."""
        known = name in self.in_use
        self.in_use.setdefault(name, set()).add(uid)
        if not known:
            self.on_use()

    def release(self, uid: str) -> None:
        """Note that nothing of a pod is mounted any more."""
        released = [name for name, users in self.in_use.items() if uid in users]
        for name in released:
            self.in_use[name].discard(uid)
            if not self.in_use[name]:
                del self.in_use[name]
        if any(name not in self.in_use for name in released):
            self.on_use()

    async def attached(self, driver: str, handle: str) -> Object:
        """Wait until a volume is attached, and return its VolumeAttachment. Raises ``TimeoutError``, ``ApiError``."""
        name = unique_name(driver, handle)
        async with asyncio.timeout(SECONDS):
            await self._until(name)
        return await self.client.get(ATTACHMENTS, attachment_name(driver, handle, self.node_name))

    async def _until(self, name: str) -> None:
        node = await self.client.get(NODES, self.node_name)
        if is_attached(node, name):
            return
        selector = f"metadata.name={self.node_name}"
        while True:
            version = node["metadata"]["resourceVersion"]
            async for event in self.client.watch(NODES, resource_version=version, field_selector=selector):
                node = event.object
                if event.type in ("ADDED", "MODIFIED") and is_attached(node, name):
                    return


def is_attached(node: Object, name: str) -> bool:
    return any(one["name"] == name for one in (node.get("status") or {}).get("volumesAttached") or ())
