"""Volumes that must be attached to a node before they are mounted: a VolumeAttachment for each that a pod there uses.

What flows: a pod is put on a node, so its CSI volumes whose driver wants that get a VolumeAttachment, which the driver's
attacher acts upon; what is attached is told in the Node's status, where the kubelet waits for it. When no pod there uses a
volume any more, and the kubelet says it is not in use, the VolumeAttachment goes, and with it the volume.
Source: kubernetes pkg/controller/volume/attachdetach, pkg/volume/csi (csi_attacher.go).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import NODES, VOLUME_ATTACHMENTS
from sampan.controllers.node_conditions import is_ready
from sampan.controllers.volume_protection import BY_CLAIM
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of

BY_NODE = "node"
OVER = ("Succeeded", "Failed")
OUR_NAME = re.compile(r"csi-[0-9a-f]{64}")
EXCLUSIVE = ("ReadWriteOnce", "ReadWriteOncePod")
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Somebody has made sure that the node is off: what it says of its volumes no longer counts."""
FORCED_SECONDS = 360.0
"""How long a node that is not well may go without saying that it let go of a volume (maxWaitForUnmountDuration)."""


def unique_name(volume: Object) -> str:
    """Return the name of a CSI volume in a Node's status."""
    csi = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}"


def attachment_name(volume: Object, node: str) -> str:
    csi = volume["spec"]["csi"]
    return f"csi-{hashlib.sha256((csi['volumeHandle'] + csi['driver'] + node).encode()).hexdigest()}"


def attachment(volume: Object, node: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": attachment_name(volume, node)},
        "spec": {
            "attacher": volume["spec"]["csi"]["driver"],
            "nodeName": node,
            "source": {"persistentVolumeName": volume["metadata"]["name"]},
        },
    }


def is_attached(found: Object) -> bool:
    return bool((found.get("status") or {}).get("attached"))


def is_ours(found: Object, volume: Object | None) -> bool:
    """Whether we made an attachment, by its name; others' are left alone. Its volume may be gone."""
    name = found["metadata"]["name"]
    if volume is None:
        return OUR_NAME.fullmatch(name) is not None
    return bool(volume["spec"].get("csi")) and name == attachment_name(volume, found["spec"]["nodeName"])


def is_out_of_service(node: Object) -> bool:
    return any(taint["key"] == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ())


def node_of(pod: Object) -> list[str]:
    """Index function: the node that a pod runs on."""
    node = pod["spec"].get("nodeName")
    return [node] if node and (pod.get("status") or {}).get("phase") not in OVER else []


class AttachDetach(Controller):
    """Keys are names of nodes."""

    name = "attachdetach-controller"

    def __init__(
        self,
        client: Client,
        pods: Informer,
        claims: Informer,
        volumes: Informer,
        nodes: Informer,
        drivers: Informer,
        attachments: Informer,
        events: EventRecorder,
    ) -> None:
        super().__init__(client)
        self.pods, self.claims, self.volumes, self.nodes = pods, claims, volumes, nodes
        self.drivers, self.attachments, self.events = drivers, attachments, events
        self._told: dict[str, str] = {}
        self._held_off: dict[str, set[str]] = {}
        """Nodes that wait until another lets go of a volume, by the volume's name."""
        self._attaching: dict[str, str] = {}
        """Nodes that volumes are being attached to, by the attachment's name, until the informer shows that."""
        self._unwanted: dict[str, float] = {}
        """Since when attachments are not wanted any more that their node still uses."""
        attachments.add_handler(self._on_attachment)
        pods.add_index(BY_NODE, node_of)
        pods.add_index(BY_CLAIM, claims_of)
        attachments.add_index(BY_NODE, lambda one: [one["spec"]["nodeName"]])
        self.watch(pods, self._node_of_pod)
        self.watch(volumes, self._nodes_of_volume)
        self.watch(attachments, self._nodes_of_attachment)
        self.watch(nodes, self._if_attached)
        self.watch(drivers, lambda driver: {node for pod in self.pods for node in self._node_of_pod(pod)})

    def _on_attachment(self, change: str, old: Object | None, new: Object) -> None:
        self._attaching.pop(new["metadata"]["name"], None)
        if change == "DELETED":
            self._unwanted.pop(new["metadata"]["name"], None)

    def _node_of_pod(self, pod: Object) -> list[str]:
        node = pod["spec"].get("nodeName")
        return [node] if node and claims_of(pod) else []

    def _nodes_of_volume(self, volume: Object) -> Iterator[str]:
        reference = volume["spec"].get("claimRef")
        if reference and volume["spec"].get("csi"):
            for pod in self.pods.by_index(BY_CLAIM, f"{reference.get('namespace')}/{reference.get('name')}"):
                yield from self._node_of_pod(pod)

    def _nodes_of_attachment(self, one: Object) -> list[str]:
        """An attachment matters to its node, and to those that wait until that node lets go of the volume."""
        held_off = self._held_off.get((one["spec"].get("source") or {}).get("persistentVolumeName") or "", ())
        return [one["spec"]["nodeName"], *held_off]

    def _if_attached(self, node: Object) -> list[str]:
        """A Node matters when it has attachments: its heartbeats of others would be work for nothing."""
        name = node["metadata"]["name"]
        return [name] if self.attachments.by_index(BY_NODE, name) else []

    async def reconcile(self, key: str) -> float | None:
        wanted = self._wanted(key)
        self._forget_unwanted(key, {volume["metadata"]["name"] for volume, _ in wanted.values()})
        there = {one["metadata"]["name"]: one for one in self.attachments.by_index(BY_NODE, key)}
        waits = []
        for name, (volume, pods) in wanted.items():
            self._unwanted.pop(name, None)
            if name not in there:
                await self._attach(key, volume, pods)
            elif "deletionTimestamp" not in there[name]["metadata"]:
                self._tell(there[name], volume, pods)
        node = self.nodes.get(key)
        for name, found in there.items():
            if name not in wanted and (wait := await self._detach(node, found)) is not None:
                waits.append(wait)
        if node is not None:
            await self._write(node, there)
        return min(waits, default=None)

    def _forget_unwanted(self, node: str, wanted: set[str]) -> None:
        for volume in [name for name, nodes in self._held_off.items() if node in nodes and name not in wanted]:
            self._no_longer_held_off(volume, node)

    def _wanted(self, node: str) -> dict[str, tuple[Object, list[Object]]]:
        """Return the volumes to be attached to a node, with the pods that use them, by their attachment's name."""
        found: dict[str, tuple[Object, list[Object]]] = {}
        for pod in self.pods.by_index(BY_NODE, node):
            for key in claims_of(pod):
                claim = self.claims.get(key)
                volume = self.volumes.get(claim["spec"].get("volumeName") or "") if claim is not None else None
                if volume is None or not self._is_attachable(volume):
                    continue
                reference = volume["spec"].get("claimRef") or {}
                if claim is not None and reference.get("uid") == claim["metadata"]["uid"]:
                    found.setdefault(attachment_name(volume, node), (volume, []))[1].append(pod)
        return found

    def _is_attachable(self, volume: Object) -> bool:
        csi = volume["spec"].get("csi")
        if csi is None:
            return False
        driver = self.drivers.get(csi["driver"])
        return driver is None or bool((driver.get("spec") or {}).get("attachRequired", True))

    async def _attach(self, node: str, volume: Object, pods: list[Object]) -> None:
        name = volume["metadata"]["name"]
        elsewhere = self._nodes_that_have(volume) - {node}
        if elsewhere and not set(volume["spec"].get("accessModes") or ()) - set(EXCLUSIVE):
            self._held_off.setdefault(name, set()).add(node)
            users = sorted(pod["metadata"]["name"] for other in elsewhere for pod in self._users(volume, other))
            message = "Volume is already exclusively attached to one node and can't be attached to another"
            if users:
                message = f"Volume is already used by pod(s) {', '.join(users)}"
            whole = f'Multi-Attach error for volume "{name}" {message}'
            self._once(f"{node}/{name}", whole, "FailedAttachVolume", pods)
            return
        self._no_longer_held_off(name, node)
        made = attachment(volume, node)
        self._attaching[made["metadata"]["name"]] = node
        try:
            await self.client.create(VOLUME_ATTACHMENTS, made)
        except BaseException as error:
            self._attaching.pop(made["metadata"]["name"], None)
            if not (isinstance(error, ApiError) and error.already_exists):
                raise

    def _users(self, volume: Object, node: str) -> Iterator[Object]:
        """Yield the pods of a node that use a volume."""
        reference = volume["spec"].get("claimRef") or {}
        for pod in self.pods.by_index(BY_CLAIM, f"{reference.get('namespace')}/{reference.get('name')}"):
            if node in node_of(pod):
                yield pod

    def _no_longer_held_off(self, volume: str, node: str) -> None:
        nodes = self._held_off.get(volume)
        if nodes is not None:
            nodes.discard(node)
            if not nodes:
                del self._held_off[volume]

    def _nodes_that_have(self, volume: Object) -> set[str]:
        name = volume["metadata"]["name"]
        shown = {
            one["spec"]["nodeName"]
            for one in self.attachments
            if (one["spec"].get("source") or {}).get("persistentVolumeName") == name
        }
        made = self._attaching.items()
        return shown | {node for one, node in made if one == attachment_name(volume, node)}

    def _tell(self, found: Object, volume: Object, pods: list[Object]) -> None:
        """Tell the pods that their volume is attached, or why it is not."""
        name, status = volume["metadata"]["name"], found.get("status") or {}
        key = f"{found['spec']['nodeName']}/{name}"
        if status.get("attached"):
            self._once(key, f'AttachVolume.Attach succeeded for volume "{name}" ', "SuccessfulAttachVolume", pods)
        elif problem := (status.get("attachError") or {}).get("message"):
            self._once(key, f'AttachVolume.Attach failed for volume "{name}" : {problem}', "FailedAttachVolume", pods)

    def _once(self, key: str, message: str, reason: str, pods: list[Object]) -> None:
        if self._told.get(key) == message:
            return
        self._told[key] = message
        for pod in pods:
            self.events.record(pod, "Normal" if reason == "SuccessfulAttachVolume" else "Warning", reason, message)

    async def _detach(self, node: Object | None, found: Object) -> float | None:
        """Take an attachment of ours back once its node does not use the volume any more, is not there, or is not well for so
        long that it will not say; return in how many seconds that would be."""
        name = (found["spec"].get("source") or {}).get("persistentVolumeName") or ""
        volume = self.volumes.get(name)
        if "deletionTimestamp" in found["metadata"] or not is_ours(found, volume):
            return None
        in_use = ((node or {}).get("status") or {}).get("volumesInUse") or ()
        held = unique_name(volume) if volume is not None else f"kubernetes.io/csi/{found['spec']['attacher']}^"
        if node is not None and any(one == held or (volume is None and one.startswith(held)) for one in in_use):
            now = asyncio.get_running_loop().time()
            left = FORCED_SECONDS - (now - self._unwanted.setdefault(found["metadata"]["name"], now))
            if not is_out_of_service(node) and (is_ready(node) or left > 0):
                return None if is_ready(node) else left
        self._told.pop(f"{found['spec']['nodeName']}/{name}", None)
        await self.client.delete(VOLUME_ATTACHMENTS, found["metadata"]["name"], uid=found["metadata"]["uid"])
        return None

    async def _write(self, node: Object, there: dict[str, Object]) -> None:
        """Say in the Node's status what is attached."""
        names = sorted(
            unique_name(volume)
            for one in there.values()
            if is_attached(one)
            and "deletionTimestamp" not in one["metadata"]
            and (volume := self.volumes.get((one["spec"].get("source") or {}).get("persistentVolumeName") or ""))
            and volume["spec"].get("csi")
        )
        told = [one["name"] for one in (node.get("status") or {}).get("volumesAttached") or ()]
        if sorted(told) != names:
            listed = [{"name": name, "devicePath": ""} for name in names]
            patch = {"status": {"volumesAttached": listed or None}}
            await self.client.patch(NODES, key_of(node), patch, subresource="status")
