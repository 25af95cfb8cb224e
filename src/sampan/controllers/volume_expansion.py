"""Claims that ask for more than they have: who provisioned the volume makes it larger, and the claim says that it waits.

Source: kubernetes pkg/controller/volume/expand (expand_controller.go).
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.controllers.local_provisioner import is_ours
from sampan.controllers.volume_binding import phase_of
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.volume_matching import requested


def waits(claim: Object) -> bool:
    """Whether a bound claim asks for more than it has."""
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage", "0")
    return phase_of(claim) == "Bound" and parse(str(capacity)) < requested(claim)


class VolumeExpansion(Controller):
    name = "expand-controller"

    def __init__(self, client: Client, claims: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.claims, self.events = claims, events
        self.told: dict[str, str] = {}
        """What each claim was told to wait for, by key: once for each size."""
        self.watch(claims)

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None or is_ours(claim) or not waits(claim):
            self.told.pop(key, None)
            return None
        size = str(requested(claim))
        if self.told.get(key) != size:
            self.told[key] = size
            self.events.normal(claim, "ExternalExpanding", "waiting for an external controller to expand this PVC")
        return None
