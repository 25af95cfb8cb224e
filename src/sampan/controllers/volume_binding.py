"""Binding a claim and a volume: the writes that the binder of claims and the binder of volumes share.

A binding is four writes, each of which may find itself done: the volume's claimRef, the volume's phase, the claim's
volumeName, the claim's status. Who dies in between finds the rest to do by looking at the objects.
Source: kubernetes pkg/controller/volume/persistentvolume (pv_controller.go).
"""

from __future__ import annotations

from sampan.client.events import EventRecorder
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.schema.objects import Object
from sampan.schema.volume_matching import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    annotations_of,
    bound_volume,
    with_annotations,
)

BINDER = "persistent-volume-binder"
COMPONENT = "persistentvolume-controller"
BY_CLAIM = "claim"
"""Index of volumes: the key of the claim they refer to, ``""`` where there is none."""


def claim_key(volume: Object) -> str:
    """Return the key of the claim that a volume refers to; ``""``: none."""
    reference = volume["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def claim_keys(volume: Object) -> list[str]:
    return [claim_key(volume)]


def phase_of(obj: Object) -> str:
    return str((obj.get("status") or {}).get("phase") or "")


def bound_claim(claim: Object, volume: Object) -> Object:
    """Return a claim that names a volume and says that it is bound; itself where it does."""
    name, made = volume["metadata"]["name"], claim
    if claim["spec"].get("volumeName") != name:
        made = {**made, "spec": {**claim["spec"], "volumeName": name}}
        made = with_annotations(made, {BOUND_BY_CONTROLLER: "yes"})
    if BIND_COMPLETED not in annotations_of(claim):
        made = with_annotations(made, {BIND_COMPLETED: "yes"})
    return made


def unbound_volume(volume: Object) -> Object:
    """Return a volume without its claim; who pre-bound it keeps the name, and only the uid goes."""
    spec = volume["spec"]
    if BOUND_BY_CONTROLLER in annotations_of(volume):
        made = {**volume, "spec": {key: value for key, value in spec.items() if key != "claimRef"}}
        return with_annotations(made, {}, (BOUND_BY_CONTROLLER,))
    reference = {key: value for key, value in spec["claimRef"].items() if key not in ("uid", "resourceVersion")}
    return {**volume, "spec": {**spec, "claimRef": reference}}


def claim_status(claim: Object, phase: str, volume: Object | None) -> Object:
    """Return the status of a claim in a phase. The capacity is that of the volume when the claim becomes bound; later only
    an expansion changes it."""
    before = claim.get("status") or {}
    status = {**before, "phase": phase}
    if volume is None:
        status.pop("accessModes", None)
        status.pop("capacity", None)
        return status
    spec = volume["spec"]
    status["accessModes"] = spec.get("accessModes") or []
    if before.get("phase") != "Bound":
        status["capacity"] = spec.get("capacity") or {}
        if spec.get("volumeAttributesClassName"):
            status["currentVolumeAttributesClassName"] = spec["volumeAttributesClassName"]
    return status


class Bindings:
    """The writes."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        self.client, self.events = client, events

    async def bind(self, volume: Object, claim: Object) -> None:
        """Make a claim and a volume refer to one another, and both say so."""
        made = bound_volume(volume, claim)
        if made is not volume:
            volume = await self.client.update(PERSISTENT_VOLUMES, made)
        volume = await self.set_phase(volume, "Bound")
        wanted = bound_claim(claim, volume)
        if wanted is not claim:
            claim = await self.client.update(PERSISTENT_VOLUME_CLAIMS, wanted)
        await self.set_claim(claim, "Bound", volume)

    async def unbind(self, volume: Object) -> None:
        volume = await self.client.update(PERSISTENT_VOLUMES, unbound_volume(volume))
        await self.set_phase(volume, "Available")

    async def set_phase(self, volume: Object, phase: str, reason: str = "", message: str = "") -> Object:
        """Write a volume's phase where it is another one; with a reason it is told as a warning, too."""
        if phase_of(volume) == phase:
            return volume
        status = {key: value for key, value in (volume.get("status") or {}).items() if key not in ("reason", "message")}
        status |= {"phase": phase, **({"message": message} if message else {})}
        volume = await self.client.update(PERSISTENT_VOLUMES, {**volume, "status": status}, subresource="status")
        if reason:
            self.events.warning(volume, reason, message)
        return volume

    async def set_claim(
        self, claim: Object, phase: str, volume: Object | None = None, reason: str = "", message: str = ""
    ) -> None:
        """Write a claim's status where it differs; a reason is told when the phase is new."""
        status = claim_status(claim, phase, volume)
        if status == claim.get("status"):
            return
        await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "status": status}, subresource="status")
        if reason and phase_of(claim) != phase:
            self.events.warning(claim, reason, message)
