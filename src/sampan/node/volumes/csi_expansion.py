"""The node's part in growing a CSI volume: the filesystem follows when the volume has grown, and the claim says so.

Source: KEP-1790, kubernetes pkg/volume/util/operationexecutor (node_expander.go).
"""

from __future__ import annotations

from pathlib import Path

from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi.driver import Capability, CsiDriver
from sampan.node.volumes import growth
from sampan.node.volumes.volume import Volume
from sampan.schema.volume_matching import capacity_of


async def expand(
    volume: Volume,
    driver: CsiDriver,
    handle: str,
    target: Path,
    staged: Path | None,
    capability: csi.VolumeCapability,
) -> None:
    """Grow what is on the volume, if that is due. Raises ``CsiFailure``."""
    if not driver.can(Capability.EXPAND_VOLUME) or not growth.is_due(volume):
        return
    assert volume.persistent is not None
    size = capacity_of(volume.persistent)
    capacity_range = csi.CapacityRange(required_bytes=size.value())
    request = csi.NodeExpandVolumeRequest(volume_id=handle, capacity_range=capacity_range, volume_capability=capability)
    await driver.expand(request, target, staged)
    await growth.tell(volume)
