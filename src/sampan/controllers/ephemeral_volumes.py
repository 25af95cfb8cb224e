"""Generic ephemeral volumes: the claim ``POD-VOLUME`` of each, owned by its pod and gone with it.

Source: KEP-1698, kubernetes pkg/controller/volume/ephemeral.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from sampan.controllers.ownership import controller_of, owner_reference
from sampan.controllers.volume_protection import BY_CLAIM
from sampan.schema.objects import Object
from sampan.schema.pod_references import claims_of


def wanted_claims(pod: Object) -> list[Object]:
    """Return the claims of a pod's ephemeral volumes."""
    metadata = pod["metadata"]
    made = []
    for volume in pod["spec"].get("volumes") or ():
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template is None:
            continue
        given = template.get("metadata") or {}
        claim_metadata = {
            "name": f"{metadata['name']}-{volume['name']}",
            "namespace": metadata["namespace"],
            "ownerReferences": [owner_reference(pod, PODS)],
            **{key: given[key] for key in ("annotations", "labels") if given.get(key)},
        }
        spec = template["spec"]
        made.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim_metadata, "spec": spec})
    return made


def is_for(claim: Object, pod: Object) -> bool:
    """Whether a claim was made for this very pod."""
    owner = controller_of(claim)
    return owner is not None and owner["kind"] == "Pod" and owner["uid"] == pod["metadata"]["uid"]


class EphemeralVolumes(Controller):
    name = "ephemeral-volume-controller"

    def __init__(self, client: Client, pods: Informer, claims: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.pods, self.claims, self.events = pods, claims, events
        pods.add_index(BY_CLAIM, claims_of)
        self.watch(pods, lambda pod: self._keys(pod))
        self.watch(claims, self._users)

    @staticmethod
    def _keys(pod: Object) -> list[str]:
        if not any(volume.get("ephemeral") for volume in pod["spec"].get("volumes") or ()):
            return []
        return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"]

    def _users(self, claim: Object) -> list[str]:
        """The pods that wait for a claim's name to become free."""
        key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        return [key for pod in self.pods.by_index(BY_CLAIM, key) for key in self._keys(pod)]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return None
        for claim in wanted_claims(pod):
            metadata = claim["metadata"]
            there = self.claims.get(f"{metadata['namespace']}/{metadata['name']}")
            if there is None:
                await self._create(pod, claim)
            elif not is_for(there, pod):
                message = f'PVC "{metadata["namespace"]}/{metadata["name"]}" was not created for the pod'
                self.events.warning(pod, "FailedBinding", f"ephemeral volume: {message}")
        return None

    async def _create(self, pod: Object, claim: Object) -> None:
        try:
            await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        except ApiError as error:
            if not error.already_exists:
                self.events.warning(pod, "FailedBinding", f"ephemeral volume: create PVC: {error}")
                raise
