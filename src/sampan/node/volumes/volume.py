"""What every kind of volume is given and answers.

A kind is one file with one function, ``async def set_up(volume: Volume) -> Mounted``, named in ``kinds.py``. It is called at
each look at a pod until it has answered once (kinds that follow what they name: at each look), and again by a node that was
restarted, so it must find its own work done. How volumes go is the same for all: ``removal.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.node import cri_pb2 as cri
    from sampan.node.context import NodeContext

FOLDERS = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "downwardAPI": "downward-api",
    "hostPath": "host-path",
    "local": "local-volume",
}
"""The kubelet's own names of folders, where they differ from the kind's."""


class VolumeError(Exception):
    """A volume cannot be set up; the pod waits with an event FailedMount."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is ready for containers."""

    path: Path
    """Folder or file to mount; the device of a volume of mode Block."""
    image: cri.ImageSpec | None = None
    """The image that the runtime itself is to mount in the place of ``path``."""
    read_only: bool = False
    block: bool = False
    until: float = float("inf")
    """The monotonic time from which on it is to be set up again."""


@dataclass(frozen=True)
class Volume:
    """One volume of a pod that is to be set up."""

    name: str
    """The volume's name in the pod; of a persistent one the PersistentVolume's."""
    kind: str
    source: Object
    """What the kind is told: ``volume["emptyDir"]``, or that of the PersistentVolume."""
    pod: Object
    context: NodeContext
    pod_dir: Path
    pod_ips: tuple[str, ...] = ()
    read_only: bool = False
    persistent: Object | None = field(default=None, repr=False)
    claim: Object | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where the volume is on this node: the kubelet's own layout."""
        return self.pod_dir / "volumes" / f"kubernetes.io~{FOLDERS.get(self.kind, self.kind)}" / self.name

    @property
    def device_note(self) -> Path:
        """A link to what a block device is made of, in the kubelet's own layout."""
        return self.pod_dir / "volumeDevices" / self.folder.parent.name / self.name

    @property
    def is_block(self) -> bool:
        return self.persistent is not None and self.persistent["spec"].get("volumeMode") == "Block"

    @property
    def fs_group(self) -> int | None:
        group = (self.pod["spec"].get("securityContext") or {}).get("fsGroup")
        return None if group is None else int(group)

    @property
    def can_mount(self) -> bool:
        """Whether the runtime sees what is mounted here: ours does, one that was there before is outside of the cluster."""
        return self.context.own_runtime

    def check_can_mount(self) -> None:
        """Raise ``VolumeError`` where the volume needs a mount that the runtime would not see."""
        if not self.can_mount:
            raise self.error("it needs a mount, which a runtime given with --cri-endpoint does not see")

    def error(self, message: object) -> VolumeError:
        """Return the error that the pod's event tells."""
        return VolumeError(f'MountVolume.SetUp failed for volume "{self.name}" : {message}')
