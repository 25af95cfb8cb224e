"""csi: volumes of a CSI driver, persistent ones and those that a pod describes itself.

The way of a volume: attached to the node by a controller (where its CSIDriver says so), staged once on the node, published
for each pod, grown when its claim has. What was published and staged is noted beside it (``vol_data.json``) before the driver
is asked, so that a node that died in between takes it back. Source: kubernetes pkg/volume/csi (csi_mounter.go,
csi_attacher.go, csi_block.go, expander.go).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sampan.client.errors import ApiError
from sampan.client.resources import CSI_DRIVERS, SECRETS
from sampan.node import mounts
from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi.attaching import attachment_name, unique_name
from sampan.node.csi.driver import Capability, CsiDriver, CsiFailure
from sampan.node.volumes import csi_expansion
from sampan.node.volumes.csi_notes import NOTES, Note, bases, read, staged_folder, users, write
from sampan.node.volumes.material import from_bytes, secret_data
from sampan.node.volumes.ownership import give_to_group
from sampan.node.volumes.volume import Mounted, Volume
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.node.context import NodeContext

AGAIN_SECONDS = 60.0
"""How often a volume that is to be published again, or that may grow, is looked at."""
TOKEN_SECONDS = 3600
Mode = csi.VolumeCapability.AccessMode
MODES = {
    "ReadWriteOnce": Mode.SINGLE_NODE_WRITER,
    "ReadOnlyMany": Mode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": Mode.MULTI_NODE_MULTI_WRITER,
    "ReadWriteOncePod": Mode.SINGLE_NODE_WRITER,
}
FINER_MODES = {
    "ReadWriteOnce": Mode.SINGLE_NODE_MULTI_WRITER,
    "ReadWriteOncePod": Mode.SINGLE_NODE_SINGLE_WRITER,
}
"""For drivers that tell one node from one pod (KEP-2485)."""


@dataclass(frozen=True)
class Csi:
    """A volume with its driver and what the cluster says of that (the spec of its CSIDriver)."""

    volume: Volume
    driver: CsiDriver
    spec: Object
    handle: str

    @property
    def is_ephemeral(self) -> bool:
        return self.volume.persistent is None

    @property
    def base(self) -> Path:
        """The folder of ours on this node."""
        volume = self.volume
        return volume.device_note if volume.is_block else volume.folder

    @property
    def target(self) -> Path:
        return target_in(self.base)

    @property
    def staged(self) -> Path | None:
        """Where the volume is staged; None: it is not."""
        if self.is_ephemeral or not self.driver.can(Capability.STAGE_UNSTAGE_VOLUME):
            return None
        return staged_folder(self.volume.context.kubelet_dir, self.driver.name, self.handle) / "globalmount"

    @property
    def is_republished(self) -> bool:
        return bool(self.spec.get("requiresRepublish"))

    @property
    def mount_group(self) -> str:
        """The group that the driver itself gives the volume to; ``""``: that is left to us."""
        group = self.volume.fs_group
        return str(group) if group is not None and self.driver.can(Capability.VOLUME_MOUNT_GROUP) else ""

    def capability(self) -> csi.VolumeCapability:
        persistent = self.volume.persistent
        asked = persistent["spec"]["accessModes"][0] if persistent is not None else "ReadWriteOnce"
        finer = self.driver.can(Capability.SINGLE_NODE_MULTI_WRITER)
        mode = FINER_MODES.get(asked, MODES[asked]) if finer else MODES[asked]
        made = csi.VolumeCapability(access_mode=Mode(mode=mode))
        if self.volume.is_block:
            made.block.SetInParent()
        else:
            made.mount.fs_type = self.volume.source.get("fsType") or ""
            if persistent is not None:
                made.mount.mount_flags.extend(persistent["spec"].get("mountOptions") or ())
            made.mount.volume_mount_group = self.mount_group
        return made


async def set_up(volume: Volume) -> Mounted:
    context, name = volume.context, volume.source["driver"]
    try:
        driver = context.csi.get(name)
        found = Csi(volume, driver, await driver_spec(context, name), handle_of(volume))
        _check_lifecycle(found)
        async with driver.lock(found.handle):
            await _mount(found)
    except (CsiFailure, ApiError, OSError) as error:
        if isinstance(error, TimeoutError):
            error = OSError("timed out waiting for external-attacher of the CSI driver to attach the volume")
        raise volume.error(error) from error
    looked_at_again = found.is_republished or driver.can(Capability.EXPAND_VOLUME)
    until = time.monotonic() + AGAIN_SECONDS if looked_at_again else float("inf")
    return Mounted(found.target, read_only=volume.read_only, block=volume.is_block, until=until)


async def driver_spec(context: NodeContext, name: str) -> Object:
    """Return the spec of a driver's CSIDriver; one that has none is taken to need everything that is usual."""
    try:
        found: Object = (await context.client.get(CSI_DRIVERS, name)).get("spec") or {}
    except ApiError as error:
        if not error.is_not_found:
            raise
        return {}
    return found


def handle_of(volume: Volume) -> str:
    """Return the volume's name for its driver; one that a pod describes is named after both."""
    if volume.persistent is not None:
        return str(volume.source["volumeHandle"])
    return f"csi-{hashlib.sha256((volume.pod['metadata']['uid'] + volume.name).encode()).hexdigest()}"


def _check_lifecycle(found: Csi) -> None:
    if found.is_ephemeral and "Ephemeral" not in (found.spec.get("volumeLifecycleModes") or ()):
        raise CsiFailure(f"volume mode Ephemeral not supported by driver {found.driver.name}")


async def _mount(found: Csi) -> None:
    volume, driver = found.volume, found.driver
    note = Note(driver.name, found.handle, volume.name)
    publish_context = (
        await _attached(found) if not found.is_ephemeral and found.spec.get("attachRequired", True) else {}
    )
    staged = found.staged
    if staged is not None and not mounts.is_mounted(staged):
        write(staged.parent, note)
        staged.mkdir(parents=True, exist_ok=True)
        await driver.stage(
            csi.NodeStageVolumeRequest(
                volume_id=found.handle,
                publish_context=publish_context,
                volume_capability=found.capability(),
                secrets=await secrets(volume, "nodeStageSecretRef"),
                volume_context=volume.source.get("volumeAttributes") or {},
            ),
            staged,
        )
    if found.is_republished or not mounts.is_mounted(found.target):
        await _publish(found, note, publish_context)
    await csi_expansion.expand(found.volume, driver, found.handle, found.target, staged, found.capability())


async def _publish(found: Csi, note: Note, publish_context: dict[str, str]) -> None:
    volume = found.volume
    write(found.base, note)
    attributes = {**(volume.source.get("volumeAttributes") or {}), **await pod_info(found)}
    request = csi.NodePublishVolumeRequest(
        volume_id=found.handle,
        publish_context=publish_context,
        volume_capability=found.capability(),
        readonly=volume.read_only,
        secrets=await secrets(volume, "nodePublishSecretRef"),
        volume_context=attributes,
    )
    fresh = not mounts.is_mounted(found.target)
    await found.driver.publish(request, found.target, found.staged)
    if fresh and gives_group(found):
        policy = (volume.pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy") or "Always"
        await asyncio.to_thread(give_to_group, found.target, volume.fs_group or 0, policy=policy)


async def _attached(found: Csi) -> dict[str, str]:
    volume, driver = found.volume, found.driver
    attaching = volume.context.attaching
    attaching.use(unique_name(driver.name, found.handle), volume.pod["metadata"]["uid"])
    try:
        attachment = await attaching.attached(driver.name, found.handle)
    except ApiError as error:
        if error.is_not_found:
            name = attachment_name(driver.name, found.handle, volume.context.node_name)
            raise CsiFailure(f"volume attachment {name} does not exist") from error
        raise
    return dict((attachment.get("status") or {}).get("attachmentMetadata") or {})


def gives_group(found: Csi) -> bool:
    """Whether the volume is given to the pod's fsGroup by us, as its driver's ``fsGroupPolicy`` says."""
    volume = found.volume
    if volume.fs_group is None or volume.read_only or volume.is_block or found.mount_group:
        return False
    policy = found.spec.get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
    if policy == "ReadWriteOnceWithFSType":
        modes = volume.persistent["spec"].get("accessModes") or () if volume.persistent is not None else ()
        return bool(volume.source.get("fsType")) and "ReadWriteOnce" in modes
    return bool(policy == "File")


async def pod_info(found: Csi) -> dict[str, str]:
    """Return what a driver is told of the pod, where its CSIDriver asks for it: names and tokens."""
    pod, result = found.volume.pod, {}
    if found.spec.get("podInfoOnMount"):
        metadata = pod["metadata"]
        result = {
            "csi.storage.k8s.io/pod.name": metadata["name"],
            "csi.storage.k8s.io/pod.namespace": metadata["namespace"],
            "csi.storage.k8s.io/pod.uid": metadata["uid"],
            "csi.storage.k8s.io/serviceAccount.name": pod["spec"].get("serviceAccountName") or "default",
            "csi.storage.k8s.io/ephemeral": "true" if found.is_ephemeral else "false",
        }
    tokens = {}
    for request in found.spec.get("tokenRequests") or ():
        seconds = request.get("expirationSeconds") or TOKEN_SECONDS
        token = await found.volume.context.tokens.token(pod, request.get("audience") or "", seconds)
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        expires = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        tokens[request.get("audience") or ""] = {"token": token, "expirationTimestamp": expires}
    if tokens:
        result["csi.storage.k8s.io/serviceAccount.tokens"] = orjson.dumps(tokens).decode()
    return result


async def secrets(volume: Volume, field: str) -> dict[str, str]:
    """Return the data of a Secret that a volume names for its driver."""
    reference = volume.source.get(field)
    if not reference:
        return {}
    namespace = reference.get("namespace") or volume.pod["metadata"]["namespace"]
    found = await volume.context.client.get(SECRETS, reference["name"], namespace)
    return {key: from_bytes(value) for key, value in secret_data(found).items()}


# the end


async def tear_down(context: NodeContext, pod_dir: Path) -> None:
    """Unpublish what a pod has, and unstage what no other pod has. Raises ``OSError`` when a driver cannot do so now."""
    for base in bases(pod_dir, ""):
        note = read(base)
        try:
            driver = context.csi.get(note.driver)
            async with driver.lock(note.handle):
                await driver.unpublish(note.handle, target_in(base))
                mounts.unmount_below(base)
                _forget(base)
                await _unstage(context, driver, note)
        except CsiFailure as error:
            raise OSError(f"UnmountVolume.TearDown failed for volume {note.name}: {error}") from error


def target_in(base: Path) -> Path:
    """Return where a volume is published, in its folder of ours."""
    return base / ("dev" if base.parent.parent.name == "volumeDevices" else "mount")


async def _unstage(context: NodeContext, driver: CsiDriver, note: Note) -> None:
    folder = staged_folder(context.kubelet_dir, note.driver, note.handle)
    if not (folder / NOTES).exists() or users(context.kubelet_dir, note):
        return
    await driver.unstage(note.handle, folder / "globalmount")
    mounts.unmount_below(folder)
    _forget(folder)


def _forget(folder: Path) -> None:
    """Remove a folder of ours whose contents are unmounted, its note last."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == NOTES):
        with contextlib.suppress(FileNotFoundError):
            entry.rmdir() if entry.is_dir() else entry.unlink()
    folder.rmdir()


async def clean_staged(context: NodeContext) -> None:
    """Unstage what a node that died left staged, of the drivers that are there."""
    for note in _staged(context.kubelet_dir):
        driver = context.csi.drivers.get(note.driver)
        if driver is not None:
            async with driver.lock(note.handle):
                await _unstage(context, driver, note)


def _staged(kubelet_dir: Path) -> Iterator[Note]:
    for found in list((kubelet_dir / "plugins" / "kubernetes.io" / "csi").glob(f"*/*/{NOTES}")):
        yield read(found.parent)
