"""What of a pod's volumes one container gets: CRI mounts and devices.

Source: core/v1 VolumeMount, VolumeDevice; kubernetes pkg/kubelet (makeMounts, makeBlockVolumes); KEP-3857.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node.environment import expand
from sampan.node.volumes import sub_paths
from sampan.node.volumes.volume import Mounted, VolumeError
from sampan.schema.objects import Object

PROPAGATION = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}


def mounts_of(
    container: Object,
    ready: Mapping[str, Mounted],
    environment: Mapping[str, str],
    pod_dir: Path,
    *,
    recursive: bool = False,
    parts: bool = True,
) -> list[cri.Mount]:
    """Return the volume mounts of a container; ``recursive``: the runtime can make what is mounted below read-only, too;
    ``parts``: it sees what is mounted here. Raises ``VolumeError``."""
    result = []
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        volume = _ready(container, mount["name"], ready)
        if volume.block:
            raise VolumeError(f"volume {mount['name']} has volumeMode Block, but is specified in volumeMounts")
        path = volume.path
        sub = _sub_path(mount, environment)
        if volume.image is not None:
            result.append(
                cri.Mount(
                    container_path=_absolute(mount["mountPath"]),
                    image=volume.image,
                    image_sub_path=sub,
                    readonly=True,
                )
            )
            continue
        if sub and not parts:
            raise VolumeError("subPath needs a mount, which a runtime given with --cri-endpoint does not see")
        if sub:
            target = pod_dir / "volume-subpaths" / path.name / container["name"] / str(index)
            path = sub_paths.bind(path, sub, target)
        read_only = bool(mount.get("readOnly")) or volume.read_only
        result.append(
            cri.Mount(
                container_path=_absolute(mount["mountPath"]),
                host_path=str(path),
                readonly=read_only,
                propagation=PROPAGATION[mount.get("mountPropagation") or "None"],
                recursive_read_only=read_only and _is_recursive(mount, recursive),
            )
        )
    return result


def _ready(container: Object, name: str, ready: Mapping[str, Mounted]) -> Mounted:
    volume = ready.get(name)
    if volume is None:
        raise VolumeError(f'volume "{name}" of container {container["name"]} does not exist')
    return volume


def _absolute(path: str) -> str:
    """Return a mount path as it is seen from the root, which runtimes want."""
    return path if path.startswith("/") else f"/{path}"


def _sub_path(mount: Object, environment: Mapping[str, str]) -> str:
    if not mount.get("subPathExpr"):
        return mount.get("subPath") or ""
    expanded = expand(mount["subPathExpr"], environment)
    if "$(" in expanded:
        unknown = expanded.partition("$(")[2].partition(")")[0]
        raise VolumeError(f'missing value for "{unknown}"')
    return expanded


def _is_recursive(mount: Object, possible: bool) -> bool:
    wanted = mount.get("recursiveReadOnly") or "Disabled"
    if wanted == "Enabled" and not possible:
        raise VolumeError("recursive read-only mounts are not supported by the runtime of this node")
    return wanted in ("Enabled", "IfPossible") and possible


def devices_of(container: Object, ready: Mapping[str, Mounted]) -> list[cri.Device]:
    """Return the block devices of a container. Raises ``VolumeError``."""
    result = []
    for device in container.get("volumeDevices") or ():
        volume = _ready(container, device["name"], ready)
        if not volume.block:
            raise VolumeError(f"volume {device['name']} has volumeMode Filesystem, but is specified in volumeDevices")
        permissions = "r" if volume.read_only else "mrw"
        result.append(
            cri.Device(container_path=device["devicePath"], host_path=str(volume.path), permissions=permissions)
        )
    return result
