"""The kinds of volumes that this node has: one file each, named here. To add one, write its ``set_up`` and its line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.node.context import NodeContext
from sampan.node.volumes import csi, empty_dir, host_path, image, local, nfs, written
from sampan.node.volumes.material import WRITTEN
from sampan.node.volumes.persistent import behind
from sampan.node.volumes.volume import Mounted, Volume, VolumeError
from sampan.schema.objects import Object

SetUp = Callable[[Volume], Awaitable[Mounted]]
KINDS: dict[str, SetUp] = {
    "emptyDir": empty_dir.set_up,
    "hostPath": host_path.set_up,
    "local": local.set_up,
    "image": image.set_up,
    "nfs": nfs.set_up,
    "csi": csi.set_up,
    **dict.fromkeys(WRITTEN, written.set_up),
}
CLAIMED = ("persistentVolumeClaim", "ephemeral")


def follows(volume: Object) -> bool:
    """Whether a volume is brought up to date at each look at its pod."""
    return any(kind in volume for kind in WRITTEN)


def volume_of(entry: Object, pod: Object, context: NodeContext, pod_dir: Path, pod_ips: tuple[str, ...]) -> Volume:
    """Return an entry of ``spec.volumes`` as what is to be set up."""
    kind = next((key for key in entry if key != "name" and entry[key] is not None), "emptyDir")
    source = entry.get(kind) or {}
    return Volume(str(entry["name"]), kind, source, pod, context, pod_dir, pod_ips, bool(source.get("readOnly")))


async def set_up(volume: Volume) -> Mounted:
    """Make a volume ready. Raises ``VolumeError``."""
    try:
        if volume.kind in CLAIMED:
            volume = await behind(volume)
        make = KINDS.get(volume.kind)
        if make is None:
            raise VolumeError(f'volume "{volume.name}" is of a kind that this node does not have: {volume.kind}')
        return await make(volume)
    except (OSError, ApiError) as error:  # the disk is full, say, or something that the volume names is not there
        raise volume.error(error) from error
