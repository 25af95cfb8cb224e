"""PersistentVolumes: the phase that follows from their claim, and what becomes of them when the claim is gone.

A volume whose claim is gone is Released, kept (``Retain``) or left to who provisioned it (``Delete``); what nobody can
delete or recycle is Failed and says why. Source: kubernetes pkg/controller/volume/persistentvolume (syncVolume).
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of, split_key
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.controllers.volume_binding import BINDER, BY_CLAIM, Bindings, claim_key, claim_keys, phase_of
from sampan.schema.objects import Object
from sampan.schema.volume_matching import PROVISIONED_BY, annotations_of, mode_of

ENDED = ("Released", "Failed")


class VolumeBinder(Controller):
    name = BINDER

    def __init__(self, client: Client, volumes: Informer, claims: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.volumes, self.claims, self.events = volumes, claims, events
        self.bindings = Bindings(client, events)
        volumes.add_index(BY_CLAIM, claim_keys)
        self.watch(volumes)
        self.watch(claims, self._volumes_of)

    def _volumes_of(self, claim: Object) -> Iterator[str]:
        if claim["spec"].get("volumeName"):
            yield claim["spec"]["volumeName"]
        yield from map(key_of, self.volumes.by_index(BY_CLAIM, key_of(claim)))

    async def reconcile(self, key: str) -> float | None:
        volume = self.volumes.get(key)
        if volume is None:
            return None
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            await self.bindings.set_phase(volume, "Available")
            return None
        claim = await self._claim(volume)
        if claim is None:
            await self._release(volume)
        elif not claim["spec"].get("volumeName"):
            self._leave_to_claim(volume, claim)
        elif claim["spec"]["volumeName"] == key:
            await self.bindings.set_phase(volume, "Bound")
        elif PROVISIONED_BY in annotations_of(volume) and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            await self._release(volume)  # made for a claim that took another one meanwhile
        else:
            await self.bindings.unbind(volume)
        return None

    async def _claim(self, volume: Object) -> Object | None:
        """Return the claim that a volume is bound to, None when that very one is gone. The API itself is asked before that
        is believed: what follows may delete data."""
        key, uid = claim_key(volume), volume["spec"]["claimRef"]["uid"]
        claim = self.claims.get(key)
        if claim is None or claim["metadata"]["uid"] != uid:
            namespace, name = split_key(key)
            try:
                claim = await self.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
            except ApiError as error:
                if not error.is_not_found:
                    raise
                return None
        return claim if claim["metadata"]["uid"] == uid else None

    def _leave_to_claim(self, volume: Object, claim: Object) -> None:
        """The binder of claims is told of every change of the volume, too; here only a mismatch is said."""
        if mode_of(volume) != mode_of(claim):
            names = volume["metadata"]["name"], claim["metadata"]["name"]
            whole = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{names[1]}" due to'
            self.events.warning(volume, "VolumeMismatch", f"{whole} incompatible volumeMode.")
            whole = f'Cannot bind PersistentVolume "{names[0]}" to requested PersistentVolumeClaim due to'
            self.events.warning(claim, "VolumeMismatch", f"{whole} incompatible volumeMode.")

    async def _release(self, volume: Object) -> None:
        if phase_of(volume) not in ENDED:
            volume = await self.bindings.set_phase(volume, "Released")
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if phase_of(volume) == "Failed":
            return
        if policy == "Recycle":
            message = "No recycler plugin found for the volume!"
            await self.bindings.set_phase(volume, "Failed", "VolumeFailedRecycle", message)
        elif policy == "Delete" and PROVISIONED_BY not in annotations_of(volume):
            name = volume["metadata"]["name"]
            message = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
            await self.bindings.set_phase(volume, "Failed", "VolumeFailedDelete", message)
