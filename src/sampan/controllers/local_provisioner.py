"""The provisioner of the class ``standard``: a folder of a node below the cluster's own data, as a ``local`` volume.

What flows: a claim that the binder has given to us (``volume.kubernetes.io/storage-provisioner``) and, where its class waits
for the first consumer, a node (``selected-node``) becomes a folder and a PersistentVolume that is kept for it; a released
volume of ours goes with its folder; a claim that asks for more gets it. Each machine makes only what is to be on its own
nodes. Without a root (simulated nodes) no folder is made. A volume of mode Block is a sparse file, which the node gives out
as a loop device, and so is one whose class has the parameter ``fsType``: the node makes and grows the filesystem on it, so
its size holds. Sizes of folders are noted and not enforced: they share one filesystem.
Source: the contracts of external-provisioner and external-resizer (sig-storage-lib-external-provisioner).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from sampan.controllers.ownership import with_condition
from sampan.controllers.volume_binding import phase_of
from sampan.controllers.volume_protection import without
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.volume_matching import (
    BIND_COMPLETED,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    annotations_of,
    capacity_of,
    class_of,
    delays_binding,
    mode_of,
    reference_of,
    requested,
)

PROVISIONER = "sampan.dev/local"
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
HOSTNAME = "kubernetes.io/hostname"
NO_ROOT = Path("/var/lib/sampan-volumes")
"""The folders that simulated volumes name; nobody makes them."""
FILESYSTEM_PENDING = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
FILESYSTEMS = ("ext4", "xfs")
"""What the parameter ``fsType`` of a class may be."""
STORAGE_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


def volume_name(claim: Object) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def folder_name(claim: Object) -> str:
    """Return a name that a person finds again among the folders."""
    metadata = claim["metadata"]
    return f"{volume_name(claim)}_{metadata['namespace']}_{metadata['name']}"


def is_ours(claim: Object) -> bool:
    return any(annotations_of(claim).get(key) == PROVISIONER for key in STORAGE_PROVISIONERS)


def refusal(claim: Object, storage_class: Object) -> str:
    """Return why no volume can be made for a claim; ``""``: one can."""
    spec = claim["spec"]
    for name, value in (storage_class.get("parameters") or {}).items():
        if name != "fsType":
            return f'invalid parameter "{name}": {PROVISIONER} knows fsType'
        if value not in FILESYSTEMS:
            return f'invalid parameter "fsType": {value} is none of {", ".join(FILESYSTEMS)}'
    if spec.get("selector"):
        return "claim Selector is not supported"
    if spec.get("volumeAttributesClassName"):
        return f"{PROVISIONER} knows no VolumeAttributesClasses"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        return f"{PROVISIONER} makes empty volumes only: dataSource and dataSourceRef are not supported"
    return ""


def volume_for(claim: Object, storage_class: Object, node: Object, path: Path) -> Object:
    """Return the PersistentVolume for a claim."""
    metadata, kind = node["metadata"], filesystem_of(claim, storage_class)
    hostname = (metadata.get("labels") or {}).get(HOSTNAME, metadata["name"])
    expression = {"key": HOSTNAME, "operator": "In", "values": [hostname]}
    spec = {
        "accessModes": claim["spec"]["accessModes"],
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "claimRef": reference_of(claim),
        "local": {"path": str(path), **({"fsType": kind} if kind else {})},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": mode_of(claim),
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


def filesystem_of(claim: Object, storage_class: Object) -> str:
    """Return the filesystem that a claim's volume has of its own; ``""``: it is a folder, or a device without one."""
    wanted = str((storage_class.get("parameters") or {}).get("fsType") or "")
    return wanted if mode_of(claim) == "Filesystem" else ""


class Folders:
    """Where the volumes of this machine are; ``root`` None: there are none to make."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return (self.root or NO_ROOT) / name

    def make(self, path: Path, file_bytes: int | None) -> None:
        """Make an empty folder that any user may write to, or a sparse file of a size."""
        if self.root is None:
            return
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        if file_bytes is None:
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        else:
            self.grow(path, file_bytes)

    def grow(self, path: Path, file_bytes: int) -> None:
        if self.root is not None:
            with open(path, "ab") as file:
                file.truncate(max(file_bytes, file.tell()))

    def forget_strangers(self, known: Iterable[str]) -> None:
        """Remove empty folders of volumes that are not known: made just before a crash. What holds something stays, whatever
        the API says: it may have forgotten."""
        if self.root is None or not self.root.is_dir():
            return
        names = set(known)
        for entry in self.root.iterdir():
            if entry.is_dir() and entry.name.partition("_")[0] not in names:
                with contextlib.suppress(OSError):
                    entry.rmdir()

    def remove(self, path: Path) -> None:
        """Remove what is below our root, and nothing else."""
        if self.root is None or path.parent != self.root:
            return
        if path.is_dir() and not path.is_symlink():
            import shutil

            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class LocalProvisioner(Controller):
    """Claims: makes their volumes, and lets them grow."""

    name = "local-provisioner"

    def __init__(
        self,
        client: Client,
        claims: Informer,
        volumes: Informer,
        classes: Informer,
        nodes: Informer,
        events: EventRecorder,
        folders: Folders,
        own_node: str | None = None,
    ) -> None:
        """``own_node``: the only node whose volumes are made here; None: those of all nodes."""
        super().__init__(client)
        self.claims, self.volumes, self.classes, self.nodes = claims, volumes, classes, nodes
        self.events, self.folders, self.own_node = events, folders, own_node
        self.watch(claims)
        self.watch(volumes, self._claim_of)
        for informer in (classes, nodes):
            informer.add_handler(lambda change, old, new: self._look_again() if change == "ADDED" else None)

    async def run(self) -> None:
        try:
            await self.client.create(STORAGE_CLASSES, STORAGE_CLASS)
        except ApiError as error:
            if not error.already_exists:
                raise
        await asyncio.gather(*(one.synced() for one in (self.classes, self.nodes, self.claims, self.volumes)))
        known = {volume["metadata"]["name"] for volume in self.volumes} | {volume_name(claim) for claim in self.claims}
        await asyncio.to_thread(self.folders.forget_strangers, known)
        await super().run()

    def _look_again(self) -> None:
        for claim in self.claims:
            if is_ours(claim) and not claim["spec"].get("volumeName"):
                self.queue.add(key_of(claim))

    @staticmethod
    def _claim_of(volume: Object) -> Iterable[str]:
        reference = volume["spec"].get("claimRef")
        if reference and annotations_of(volume).get(PROVISIONED_BY) == PROVISIONER:
            yield f"{reference['namespace']}/{reference['name']}"

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None or not is_ours(claim) or "deletionTimestamp" in claim["metadata"]:
            return None
        if not claim["spec"].get("volumeName"):
            await self._provision(claim)
        elif BIND_COMPLETED in annotations_of(claim):
            await self._expand(claim)
        return None

    async def _provision(self, claim: Object) -> None:
        storage_class = self.classes.get(class_of(claim))
        node = self._node_for(claim, storage_class)
        if storage_class is None or node is None or storage_class["provisioner"] != PROVISIONER:
            return
        if self.volumes.get(volume_name(claim)) is not None:
            return  # made a moment ago
        if problem := refusal(claim, storage_class):
            message = f'failed to provision volume with StorageClass "{class_of(claim)}": {problem}'
            self.events.warning(claim, "ProvisioningFailed", message)
            return
        metadata = claim["metadata"]
        whole = f"{metadata['namespace']}/{metadata['name']}"
        self.events.normal(claim, "Provisioning", f'External provisioner is provisioning volume for claim "{whole}"')
        path = self.folders.path(folder_name(claim))
        is_file = mode_of(claim) == "Block" or filesystem_of(claim, storage_class)
        size = requested(claim).value() if is_file else None
        await asyncio.to_thread(self.folders.make, path, size)
        try:
            volume = await self.client.create(PERSISTENT_VOLUMES, volume_for(claim, storage_class, node, path))
        except ApiError as error:
            if not error.already_exists:
                raise
            await self._give_up(volume_name(claim), path)
            return
        name = volume["metadata"]["name"]
        self.events.normal(claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _give_up(self, name: str, path: Path) -> None:
        """Remove a folder that was made in vain: another machine was quicker with the volume."""
        volume = await self.client.get(PERSISTENT_VOLUMES, name)
        if not self._here(volume):
            await asyncio.to_thread(self.folders.remove, path)

    def _node_for(self, claim: Object, storage_class: Object | None) -> Object | None:
        """Return the node that a claim's volume is to be on, if it is one of ours."""
        name = annotations_of(claim).get(SELECTED_NODE)
        if name is None:
            if delays_binding(storage_class):
                return None
            name = self.own_node or min((node["metadata"]["name"] for node in self.nodes), default="")
        return self.nodes.get(name) if self.own_node in (None, name) else None

    # growing

    async def _expand(self, claim: Object) -> None:
        volume = self.volumes.get(claim["spec"]["volumeName"])
        wanted = requested(claim)
        status = claim.get("status") or {}
        if volume is None or not self._here(volume):
            return
        if not parse(str((status.get("capacity") or {}).get("storage", "0"))) < wanted:
            return
        is_left = (status.get("allocatedResourceStatuses") or {}).get("storage") == "NodeResizePending"
        if is_left and not capacity_of(volume) < wanted:
            return  # the rest is the node's
        size = claim["spec"]["resources"]["requests"]["storage"]
        claim = await self._say(claim, status | {"allocatedResources": {"storage": size}}, resizing=True)
        name = volume["metadata"]["name"]
        self.events.normal(claim, "Resizing", f"External resizer is resizing volume {name}")
        own_filesystem = bool(volume["spec"]["local"].get("fsType"))
        if mode_of(volume) == "Block" or own_filesystem:
            await asyncio.to_thread(self.folders.grow, Path(volume["spec"]["local"]["path"]), wanted.value())
        if capacity_of(volume) < wanted:
            spec = {**volume["spec"], "capacity": {"storage": size}}
            await self.client.update(PERSISTENT_VOLUMES, {**volume, "spec": spec})
        if own_filesystem and self.folders.root is not None:
            await self._leave_to_node(claim)
            return
        await self._say(claim, {**claim["status"], "capacity": {"storage": size}}, resizing=False)
        self.events.normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded")

    async def _leave_to_node(self, claim: Object) -> None:
        """Say that the node is to grow the filesystem: it does when a pod has it."""
        pending = {"type": "FileSystemResizePending", "status": "True", "message": FILESYSTEM_PENDING}
        others = [one for one in claim["status"].get("conditions") or () if one["type"] != "Resizing"]
        status = {
            **claim["status"],
            "conditions": with_condition(others, pending, timestamp()),
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
        }
        await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "status": status}, subresource="status")
        self.events.normal(claim, "FileSystemResizeRequired", "Require file system resize of volume on node")

    async def _say(self, claim: Object, status: Object, *, resizing: bool) -> Object:
        """Write where the expansion is: the condition Resizing and the state of what is allocated (KEP-1790)."""
        conditions = [one for one in status.get("conditions") or () if one["type"] != "Resizing"]
        status = {key: value for key, value in status.items() if key != "allocatedResourceStatuses"}
        if resizing:
            conditions = with_condition(conditions, {"type": "Resizing", "status": "True"}, timestamp())
            status["allocatedResourceStatuses"] = {"storage": "ControllerResizeInProgress"}
        status["conditions"] = conditions
        if not conditions:
            del status["conditions"]
        return await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "status": status}, subresource="status")

    def _here(self, volume: Object) -> bool:
        return annotations_of(volume).get(PROVISIONED_BY) == PROVISIONER and on_node(volume, self.own_node, self.nodes)


def on_node(volume: Object, own_node: str | None, nodes: Informer) -> bool:
    """Whether a volume of ours is on this machine."""
    if own_node is None:
        return True
    node = nodes.get(own_node)
    labels = (node["metadata"].get("labels") or {}) if node else {}
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    return labels.get(HOSTNAME, own_node) in terms[0]["matchExpressions"][0]["values"]


class LocalReclaimer(Controller):
    """Volumes: those that are released and to be deleted go with what is in them."""

    name = "local-provisioner"

    def __init__(
        self,
        client: Client,
        volumes: Informer,
        nodes: Informer,
        events: EventRecorder,
        folders: Folders,
        own_node: str | None = None,
    ) -> None:
        super().__init__(client)
        self.volumes, self.nodes, self.events, self.folders, self.own_node = volumes, nodes, events, folders, own_node
        self.watch(volumes, lambda v: [key_of(v)] if annotations_of(v).get(PROVISIONED_BY) == PROVISIONER else [])

    async def reconcile(self, key: str) -> float | None:
        volume = self.volumes.get(key)
        if volume is None or phase_of(volume) != "Released" or not on_node(volume, self.own_node, self.nodes):
            return None
        metadata = volume["metadata"]
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            try:
                await asyncio.to_thread(self.folders.remove, Path(volume["spec"]["local"]["path"]))
            except OSError as error:
                self.events.warning(volume, "VolumeFailedDelete", str(error))
                raise
        elif "deletionTimestamp" not in metadata:
            return None
        if FINALIZER in (metadata.get("finalizers") or ()):
            volume = await self.client.update(PERSISTENT_VOLUMES, without(volume, FINALIZER))
        if "deletionTimestamp" not in volume["metadata"]:
            await self.client.delete(PERSISTENT_VOLUMES, key, uid=metadata["uid"])
        return None
