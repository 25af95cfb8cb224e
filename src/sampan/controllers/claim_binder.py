"""PersistentVolumeClaims: each gets the volume that suits it, or a provisioner is asked to make one.

What flows: a claim comes, a volume becomes available, a class appears: the claims that may have waited for it are looked
at. A claim whose class waits for the first consumer is left to the scheduler, which keeps a volume for it or names a node
(``volume.kubernetes.io/selected-node``). Source: kubernetes pkg/controller/volume/persistentvolume (syncClaim).
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.controllers.volume_binding import BINDER, BY_CLAIM, Bindings, claim_key, claim_keys, phase_of
from sampan.controllers.volume_protection import BY_CLAIM as PODS_BY_CLAIM
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of
from sampan.schema.volume_matching import (
    BETA_CLASS,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    annotations_of,
    best_match,
    class_of,
    default_class,
    delays_binding,
    refers_to,
    unsatisfied,
)

PENDING = "pending"
"""Index of claims that wait: ``class/NAME`` and ``volume/NAME``."""
LOST = "Data on the volume is lost!"
IN_TREE = "kubernetes.io/"
"""Provisioners of this prefix were part of Kubernetes itself; none is left."""


def waits_for(claim: Object) -> list[str]:
    """Index function: what a claim that is not bound waits for."""
    if BIND_COMPLETED in annotations_of(claim):
        return []
    named = claim["spec"].get("volumeName")
    return [f"volume/{named}"] if named else [f"class/{class_of(claim)}"]


class ClaimBinder(Controller):
    name = BINDER

    def __init__(
        self,
        client: Client,
        claims: Informer,
        volumes: Informer,
        classes: Informer,
        pods: Informer,
        events: EventRecorder,
    ) -> None:
        super().__init__(client)
        self.claims, self.volumes, self.classes, self.pods, self.events = claims, volumes, classes, pods, events
        self.bindings = Bindings(client, events)
        claims.add_index(PENDING, waits_for)
        volumes.add_index(BY_CLAIM, claim_keys)
        pods.add_index(PODS_BY_CLAIM, claims_of)
        self.watch(claims)
        self.watch(volumes, self._waiting_for_volume)
        self.watch(classes, self._waiting_for_class)

    def _waiting_for_volume(self, volume: Object) -> Iterator[str]:
        name = volume["metadata"]["name"]
        if key := claim_key(volume):
            yield key
        elif phase_of(volume) == "Available":
            yield from map(key_of, self.claims.by_index(PENDING, f"class/{class_of(volume)}"))
        yield from map(key_of, self.claims.by_index(PENDING, f"volume/{name}"))

    def _waiting_for_class(self, storage_class: Object) -> Iterator[str]:
        for name in (storage_class["metadata"]["name"], ""):  # claims without a class wait for a default one
            yield from map(key_of, self.claims.by_index(PENDING, f"class/{name}"))

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None:
            return None
        if BIND_COMPLETED in annotations_of(claim):
            await self._keep(claim)
        elif claim["spec"].get("volumeName"):
            await self._bind_named(claim)
        else:
            await self._find(claim)
        return None

    # claims that were bound

    async def _keep(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        if not name:
            await self._lose(claim, "ClaimLost", f"Bound claim has lost reference to PersistentVolume. {LOST}")
            return
        volume = await self._volume(name)
        if volume is None:
            await self._lose(claim, "ClaimLost", f"Bound claim has lost its PersistentVolume. {LOST}")
        elif not volume["spec"].get("claimRef") or volume["spec"]["claimRef"].get("uid") == claim["metadata"]["uid"]:
            await self.bindings.bind(volume, claim)
        else:
            message = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", message)

    async def _volume(self, name: str) -> Object | None:
        """Return a volume; what the informer does not have (yet) is asked of the API, because data is at stake."""
        found = self.volumes.get(name)
        if found is not None:
            return found
        try:
            return await self.client.get(PERSISTENT_VOLUMES, name)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def _lose(self, claim: Object, reason: str, message: str) -> None:
        await self.bindings.set_claim(claim, "Lost", None, reason, message)

    # claims that name a volume

    async def _bind_named(self, claim: Object) -> None:
        name = claim["spec"]["volumeName"]
        volume = self.volumes.get(name)
        if volume is None:
            await self.bindings.set_claim(claim, "Pending")
        elif refers_to(volume, claim):
            await self.bindings.bind(volume, claim)
        elif volume["spec"].get("claimRef"):
            if BOUND_BY_CONTROLLER not in annotations_of(claim):
                message = f'volume "{name}" already bound to a different claim.'
                self.events.warning(claim, "FailedBinding", message)
            await self.bindings.set_claim(claim, "Pending")
        elif why := unsatisfied(volume, claim):
            self.events.warning(claim, "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')
            await self.bindings.set_claim(claim, "Pending")
        else:
            await self.bindings.bind(volume, claim)

    # claims that take what suits

    async def _find(self, claim: Object) -> None:
        storage_class = self.classes.get(class_of(claim))
        delayed = delays_binding(storage_class)
        candidates = [*self.volumes.by_index(BY_CLAIM, key_of(claim)), *self.volumes.by_index(BY_CLAIM, "")]
        volume = best_match(claim, candidates, delayed=delayed)
        if volume is not None:
            await self.bindings.bind(volume, claim)
            return
        if await self._take_default_class(claim):
            return
        if delayed and SELECTED_NODE not in annotations_of(claim):
            self._tell_waiting(claim)
        elif class_of(claim):
            claim = await self._ask_provisioner(claim, storage_class)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            self.events.normal(claim, "FailedBinding", message)
        await self.bindings.set_claim(claim, "Pending")

    async def _take_default_class(self, claim: Object) -> bool:
        """Give a claim that names no class the default one that has come since (KEP-3333)."""
        if claim["spec"].get("storageClassName") is not None or BETA_CLASS in annotations_of(claim):
            return False
        found = default_class(self.classes)
        if found is None:
            return False
        spec = {**claim["spec"], "storageClassName": found["metadata"]["name"]}
        await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "spec": spec})
        return True

    def _tell_waiting(self, claim: Object) -> None:
        pods = sorted(
            pod["metadata"]["name"]
            for pod in self.pods.by_index(PODS_BY_CLAIM, key_of(claim))
            if not pod["spec"].get("nodeName")
        )
        if not pods:
            message = "waiting for first consumer to be created before binding"
            self.events.normal(claim, "WaitForFirstConsumer", message)
            return
        word = "pods" if len(pods) > 1 else "pod"
        self.events.normal(claim, "WaitForPodScheduled", f"waiting for {word} {','.join(pods)} to be scheduled")

    async def _ask_provisioner(self, claim: Object, storage_class: Object | None) -> Object:
        """Name the provisioner on the claim, which it looks for; return the claim as it is now."""
        if storage_class is None:
            message = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
            self.events.warning(claim, "ProvisioningFailed", message)
            return claim
        provisioner = storage_class["provisioner"]
        if provisioner.startswith(IN_TREE):
            message = f"no volume plugin matched name: {provisioner}"
            self.events.warning(claim, "ProvisioningFailed", message)
            return claim
        if any(annotations_of(claim).get(key) != provisioner for key in STORAGE_PROVISIONERS):
            patch = {"metadata": {"annotations": dict.fromkeys(STORAGE_PROVISIONERS, provisioner)}}
            metadata = claim["metadata"]
            claim = await self.client.patch(PERSISTENT_VOLUME_CLAIMS, metadata["name"], patch, metadata["namespace"])
        message = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
            "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
            "correctly registered."
        )
        self.events.normal(claim, "ExternalProvisioning", message)
        return claim
