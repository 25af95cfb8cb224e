"""The node's part in growing a CSI volume: the filesystem follows when the volume has grown, and the claim says so.

Source: KEP-1790, kubernetes pkg/volume/util/operationexecutor (node_expander.go).
"""

from __future__ import annotations

from pathlib import Path

from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi.driver import Capability, CsiDriver
from sampan.node.volumes.volume import Volume
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.volume_matching import capacity_of

RESIZE_CONDITIONS = ("Resizing", "FileSystemResizePending")


def is_due(volume: Volume, driver: CsiDriver) -> bool:
    """Whether the volume is larger than its claim says it is."""
    if volume.persistent is None or volume.claim is None or not driver.can(Capability.EXPAND_VOLUME):
        return False
    status = volume.claim.get("status") or {}
    return parse(str((status.get("capacity") or {}).get("storage", "0"))) < capacity_of(volume.persistent)


async def expand(
    volume: Volume,
    driver: CsiDriver,
    handle: str,
    target: Path,
    staged: Path | None,
    capability: csi.VolumeCapability,
) -> None:
    """Grow what is on the volume, if that is due. Raises ``CsiFailure``."""
    if not is_due(volume, driver):
        return
    assert volume.persistent is not None and volume.claim is not None
    size = capacity_of(volume.persistent)
    capacity_range = csi.CapacityRange(required_bytes=size.value())
    request = csi.NodeExpandVolumeRequest(volume_id=handle, capacity_range=capacity_range, volume_capability=capability)
    await driver.expand(request, target, staged)
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
