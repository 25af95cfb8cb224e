"""A volume that has grown, and whose filesystem is the node's to grow: whether that is due, and how it is told.

Source: KEP-1790, kubernetes pkg/volume/util/operationexecutor (node_expander.go).
"""

from __future__ import annotations

from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.node.volumes.volume import Volume
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.volume_matching import capacity_of

RESIZE_CONDITIONS = ("Resizing", "FileSystemResizePending")


def is_due(volume: Volume) -> bool:
    """Whether the volume is larger than its claim says it is."""
    if volume.persistent is None or volume.claim is None:
        return False
    status = volume.claim.get("status") or {}
    return parse(str((status.get("capacity") or {}).get("storage", "0"))) < capacity_of(volume.persistent)


async def tell(volume: Volume) -> None:
    """Say in the claim, and by events, that the filesystem has grown."""
    assert volume.persistent is not None and volume.claim is not None
    metadata = volume.claim["metadata"]
    patch = {"status": grown_status(volume.claim, str(volume.persistent["spec"]["capacity"]["storage"]))}
    await volume.context.client.patch(
        PERSISTENT_VOLUME_CLAIMS, metadata["name"], patch, metadata["namespace"], subresource="status"
    )
    message = f'MountVolume.NodeExpandVolume succeeded for volume "{volume.name}"'
    for about in (volume.pod, volume.claim):
        volume.context.events.normal(about, "FileSystemResizeSuccessful", message)


def grown_status(claim: Object, size: str) -> Object:
    """Return the change of a claim's status when it has grown."""
    conditions = (claim.get("status") or {}).get("conditions") or ()
    left = [one for one in conditions if one["type"] not in RESIZE_CONDITIONS]
    return {"capacity": {"storage": size}, "conditions": left or None, "allocatedResourceStatuses": None}
