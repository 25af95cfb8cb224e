"""The claims of a pod, found and sorted: what the plugins about volumes begin with.

Source: pkg/scheduler/framework/plugins/volumebinding (podHasPVCs, GetPodVolumeClaims).
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.client.informer import Informer
from sampan.client.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
)
from sampan.scheduler.framework import ADD, NODE_LABELS, UPDATE, Handle, Interest, Status, interest, unresolvable
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of
from sampan.schema.volume_matching import BIND_COMPLETED, annotations_of, class_of, delays_binding


class Claims(NamedTuple):
    """A pod's claims by what is to be done about them."""

    bound: list[Object]
    delayed: list[Object]
    """To be bound, or provisioned for, when the node is chosen."""
    immediate: list[Object]
    """Not bound yet, and the pod's node has nothing to do with it."""


def is_bound(claim: Object) -> bool:
    """Whether a claim has its volume for good (``isPVCFullyBound``)."""
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


class Storage:
    """The informers of all that has to do with volumes."""

    def __init__(self, handle: Handle) -> None:
        self.claims: Informer = handle.informer_of(PERSISTENT_VOLUME_CLAIMS)
        self.volumes: Informer = handle.informer_of(PERSISTENT_VOLUMES)
        self.classes: Informer = handle.informer_of(STORAGE_CLASSES)

    def claims_of(self, pod: PodInfo) -> list[Object] | Status:
        """Return the claims of a pod, or why it must wait for one of them."""
        found = []
        ephemeral = {
            f"{pod.namespace}/{pod.name}-{volume['name']}"
            for volume in pod.spec.get("volumes") or ()
            if volume.get("ephemeral") is not None
        }
        for key in claims_of(pod.object):
            claim = self.claims.get(key)
            problem = self._problem(pod, key, claim, key in ephemeral)
            if problem:
                return unresolvable(problem)
            assert claim is not None
            found.append(claim)
        return found

    def _problem(self, pod: PodInfo, key: str, claim: Object | None, ephemeral: bool) -> str:
        name = key.partition("/")[2]
        if claim is None:
            if ephemeral:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName", "")
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
        if "deletionTimestamp" in claim["metadata"]:
            return f'persistentvolumeclaim "{name}" is being deleted'
        owners = claim["metadata"].get("ownerReferences") or ()
        if ephemeral and not any(owner.get("controller") and owner["uid"] == pod.uid for owner in owners):
            return f"PVC {key} was not created for pod {pod.key} (pod is not owner)"
        return ""

    def sorted(self, claims: list[Object]) -> Claims:
        found = Claims([], [], [])
        for claim in claims:
            if is_bound(claim):
                found.bound.append(claim)
            elif delays_binding(self.classes.get(class_of(claim))) and not claim["spec"].get("volumeName"):
                found.delayed.append(claim)
            else:
                found.immediate.append(claim)
        return found

    def volume_of(self, claim: Object) -> Object | None:
        return self.volumes.get(claim["spec"].get("volumeName") or "")


def interests(*more: Interest) -> tuple[Interest, ...]:
    """What may make room for a pod with claims."""
    return (
        interest(PERSISTENT_VOLUME_CLAIMS, ADD, UPDATE, hint=is_its_claim),
        interest(PERSISTENT_VOLUMES, ADD, UPDATE),
        interest(STORAGE_CLASSES, ADD, UPDATE),
        interest(NODES, ADD, NODE_LABELS),
        *more,
    )


def csi_interests() -> tuple[Interest, ...]:
    return (
        interest(CSI_NODES, ADD, UPDATE),
        interest(CSI_DRIVERS, ADD, UPDATE),
        interest(CSI_STORAGE_CAPACITIES, ADD, UPDATE),
    )


def is_its_claim(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Whether a claim that changed is one of the waiting pod's."""
    if new is None:
        return False
    metadata = new["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" in claims_of(pod.object)
