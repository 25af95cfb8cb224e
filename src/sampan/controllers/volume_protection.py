"""Volumes and claims in use are not deleted under those who use them.

Both carry a finalizer from their creation on (``api/admission/volumes.py``). A claim loses it when it is being deleted and no
pod that is on a node and still runs uses it, a volume when it is bound to no claim.
Source: kubernetes pkg/controller/volume/pvcprotection and pvprotection.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.informer import Informer, split_key
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from sampan.client.resources import PERSISTENT_VOLUMES as VOLUMES
from sampan.client.resources import PODS
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
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


class ClaimProtection(Controller):
    name = "pvc-protection-controller"

    def __init__(self, client: Client, claims: Informer, pods: Informer) -> None:
        super().__init__(client)
        self.claims = claims
        self.watch(claims)
        self.watch(pods, claims_of)

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None or not held_by(claim, CLAIM_FINALIZER):
            return None
        # asked anew: a pod that the informer has not seen yet would lose its volume
        pods = (await self.client.list(PODS, split_key(key)[0])).items
        if not any(key in claims_of(pod) and runs(pod) for pod in pods):
            await self.client.update(CLAIMS, without(claim, CLAIM_FINALIZER))
        return None


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
