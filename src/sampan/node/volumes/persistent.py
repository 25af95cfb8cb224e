"""persistentVolumeClaim and ephemeral: the PersistentVolume behind a claim, found and judged before it is mounted.

Source: kubernetes pkg/kubelet/volumemanager (desired state populator), KEP-1698, KEP-2485 (ReadWriteOncePod).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.client.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.node.volumes.volume import Volume, VolumeError
from sampan.schema.objects import Object
from sampan.schema.volume_matching import reaches

NOT_SOURCES = (
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
)  # fmt: skip


async def behind(volume: Volume) -> Volume:
    """Return the persistent volume that a claim of a pod stands for. Raises ``VolumeError``."""
    claim = await _claim(volume)
    persistent = await _volume(volume, claim)
    spec = persistent["spec"]
    kind = next(key for key in spec if key not in NOT_SOURCES)
    name = persistent["metadata"]["name"]
    found = dataclasses.replace(
        volume,
        name=name,
        kind=kind,
        source=spec[kind],
        persistent=persistent,
        claim=claim,
        read_only=bool(volume.source.get("readOnly") or spec[kind].get("readOnly")),
    )
    if spec.get("nodeAffinity"):
        node = await volume.context.client.get(NODES, volume.context.node_name)
        if not reaches(persistent, node):
            problem = "no matching NodeSelectorTerms"
            raise VolumeError(f'MountVolume.NodeAffinity check failed for volume "{name}" : {problem}')
    if "ReadWriteOncePod" in claim["spec"].get("accessModes", ()) and users(found):
        raise found.error("volume uses the ReadWriteOncePod access mode and is already in use by another pod")
    return found


def users(volume: Volume) -> list[Path]:
    """Return the folders of other pods on this node that have the same persistent volume."""
    pods = volume.context.kubelet_dir / "pods"
    found = (*pods.glob(f"*/volumes/*/{volume.name}"), *pods.glob(f"*/volumeDevices/*/{volume.name}"))
    return [one for one in found if not one.is_relative_to(volume.pod_dir)]


def claim_name(volume: Volume) -> str:
    if volume.kind == "ephemeral":
        return f"{volume.pod['metadata']['name']}-{volume.name}"
    return str(volume.source["claimName"])


async def _claim(volume: Volume) -> Object:
    metadata = volume.pod["metadata"]
    namespace, name = metadata["namespace"], claim_name(volume)

    def refused(why: object) -> VolumeError:
        return VolumeError(f"error processing PVC {namespace}/{name}: {why}")

    try:
        claim = await volume.context.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
    except ApiError as error:
        raise refused(f"failed to fetch PVC from API server: {error}") from error
    if volume.kind == "ephemeral":
        owners = claim["metadata"].get("ownerReferences") or ()
        if not any(owner.get("controller") and owner["uid"] == metadata["uid"] for owner in owners):
            raise refused(f"PVC {namespace}/{name} was not created for pod {namespace}/{metadata['name']}")
    if "deletionTimestamp" in claim["metadata"]:
        raise refused("PVC is being deleted")
    if (claim.get("status") or {}).get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        raise refused("PVC is not bound")
    return claim


async def _volume(volume: Volume, claim: Object) -> Object:
    name = claim["spec"]["volumeName"]
    where = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
    try:
        found = await volume.context.client.get(PERSISTENT_VOLUMES, name)
    except ApiError as error:
        raise VolumeError(
            f"error processing PVC {where}: failed to fetch PV {name} from API server: {error}"
        ) from error
    if (found["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        raise VolumeError(f"error processing PVC {where}: PV {name} is bound to another claim")
    return found
