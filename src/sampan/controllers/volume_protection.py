"""Volumes, claims and VolumeAttributesClasses in use are not deleted under those who use them.

All carry a finalizer from their creation on (``api/admission/volumes.py``). A claim loses it when it is being deleted and no
pod that is on a node and still runs uses it, a volume when it is bound to no claim, a class when no claim or volume has it or
asks for it. Since 1.37 a bound claim says since when no pod names it (KEP-5541).
Source: kubernetes pkg/controller/volume/pvcprotection, pvprotection and vacprotection.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.events import timestamp
from sampan.client.informer import Informer, split_key
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from sampan.client.resources import PERSISTENT_VOLUMES as VOLUMES
from sampan.client.resources import PODS
from sampan.client.resources import VOLUME_ATTRIBUTES_CLASSES as ATTRIBUTES
from sampan.controllers.ownership import condition_of
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_FINALIZER = "kubernetes.io/vac-protection"
UNUSED = ("True", "NoPodsUsingPVC", "No pods are currently referencing this PVC")
USED = ("False", "PodUsingPVC", "A pod is currently referencing this PVC")
BY_CLAIM = "claims"
"""Index of pods: the keys of the claims they use (``claims_of``)."""


def held_by(obj: Object, finalizer: str) -> bool:
    """Whether an object is being deleted and waits for this finalizer."""
    metadata = obj["metadata"]
    return bool(metadata.get("deletionTimestamp")) and finalizer in (metadata.get("finalizers") or ())


def without(obj: Object, finalizer: str) -> Object:
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "finalizers": [one for one in metadata["finalizers"] if one != finalizer]}}


def runs(pod: Object) -> bool:
    """Whether a pod is on a node and not over."""
    phase = (pod.get("status") or {}).get("phase")
    return bool((pod.get("spec") or {}).get("nodeName")) and phase not in ("Succeeded", "Failed")


def is_over(pod: Object) -> bool:
    """Whether a pod has ended, or is ending and runs nothing more."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    told = (
        status.get(f"{kind}ContainerStatuses" if kind else "containerStatuses") for kind in ("", "init", "ephemeral")
    )
    running = any("running" in (one.get("state") or {}) for statuses in told for one in statuses or ())
    return "deletionTimestamp" in pod["metadata"] and not running


class ClaimProtection(Controller):
    """``tells_unused``: whether claims say since when they are not used."""

    name = "pvc-protection-controller"

    def __init__(self, client: Client, claims: Informer, pods: Informer, *, tells_unused: bool = True) -> None:
        super().__init__(client)
        self.claims, self.pods, self.tells_unused = claims, pods, tells_unused
        pods.add_index(BY_CLAIM, claims_of)
        self.watch(claims)
        self.watch(pods, claims_of)

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None:
            return None
        if "deletionTimestamp" not in claim["metadata"]:
            await self._tell(key, claim)
        elif held_by(claim, CLAIM_FINALIZER):
            # asked anew: a pod that the informer has not seen yet would lose its volume
            pods = (await self.client.list(PODS, split_key(key)[0])).items
            if not any(key in claims_of(pod) and runs(pod) for pod in pods):
                await self.client.update(CLAIMS, without(claim, CLAIM_FINALIZER))
        return None

    async def _tell(self, key: str, claim: Object) -> None:
        """Say of a bound claim whether a pod names it, and since when."""
        status = claim.get("status") or {}
        if not self.tells_unused or status.get("phase") != "Bound":
            return
        told, reason, message = UNUSED if all(map(is_over, self.pods.by_index(BY_CLAIM, key))) else USED
        before = condition_of(claim, "Unused")
        if before is not None and before["status"] == told:
            return
        new = {
            "type": "Unused",
            "status": told,
            "lastTransitionTime": timestamp(),
            "reason": reason,
            "message": message,
        }
        others = [one for one in status.get("conditions") or () if one["type"] != "Unused"]
        updated = {**claim, "status": {**status, "conditions": [*others, new]}}
        await self.client.update(CLAIMS, updated, subresource="status")


class VolumeProtection(Controller):
    name = "pv-protection-controller"

    def __init__(self, client: Client, volumes: Informer) -> None:
        super().__init__(client)
        self.volumes = volumes
        self.watch(volumes)

    async def reconcile(self, key: str) -> float | None:
        volume = self.volumes.get(key)
        if volume is None or not held_by(volume, VOLUME_FINALIZER):
            return None
        if (volume.get("status") or {}).get("phase") != "Bound":
            await self.client.update(VOLUMES, without(volume, VOLUME_FINALIZER))
        return None


def classes_of_claim(claim: Object) -> Iterable[str]:
    """Return the VolumeAttributesClasses that a claim asks for, has, or is being changed to."""
    status = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


def classes_of_volume(volume: Object) -> Iterable[str]:
    name = (volume.get("spec") or {}).get("volumeAttributesClassName")
    return [name] if name else []


class AttributesProtection(Controller):
    name = "volumeattributesclass-protection-controller"

    def __init__(self, client: Client, classes: Informer, claims: Informer, volumes: Informer) -> None:
        super().__init__(client)
        self.classes = classes
        self.watch(classes)
        self.watch(claims, classes_of_claim)
        self.watch(volumes, classes_of_volume)

    async def reconcile(self, key: str) -> float | None:
        found = self.classes.get(key)
        if found is None or not held_by(found, ATTRIBUTES_FINALIZER):
            return None
        # asked anew, as for claims
        claims, volumes = await self.client.list(CLAIMS), await self.client.list(VOLUMES)
        used = {name for claim in claims.items for name in classes_of_claim(claim)}
        used |= {name for volume in volumes.items for name in classes_of_volume(volume)}
        if key not in used:
            await self.client.update(ATTRIBUTES, without(found, ATTRIBUTES_FINALIZER))
        return None
