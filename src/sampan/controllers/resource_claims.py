"""ResourceClaims of pods: made from their templates, freed when no pod uses them, gone with their pod.

A pod's status says which claim was made for it; what a claim's ``reservedFor`` names is taken out when that pod is over, and
devices that nobody uses are given back. Source: KEP-4381, pkg/controller/resourceclaim. Two controllers: pods' keys and
claims' keys.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import PODS, RESOURCE_CLAIMS
from sampan.controllers.ownership import controller_of, owner_reference
from sampan.schema.objects import Object
from sampan.schema.pod_references import resource_claim_names

ANNOTATION = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
OVER = ("Succeeded", "Failed")
BY_POD, BY_TEMPLATE = "pod-uid", "claim-template"


def over(pod: Object | None) -> bool:
    """Whether a pod needs its claims no longer: gone, ended, or deleted before it had a node."""
    if pod is None or (pod.get("status") or {}).get("phase") in OVER:
        return True
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")


def pod_uid(claim: Object) -> list[str]:
    """Index function: the pod that a claim was made for."""
    owner = controller_of(claim)
    return [owner["uid"]] if owner is not None and owner.get("kind") == "Pod" else []


def templates_of(pod: Object) -> list[str]:
    """Index function: the keys of the templates that a pod uses."""
    names = (one.get("resourceClaimTemplateName") for one in pod["spec"].get("resourceClaims") or ())
    return [f"{pod['metadata']['namespace']}/{name}" for name in names if name]


def claim_of(pod: Object, name: str, template: Object) -> Object:
    """Return the claim of a pod's entry, from its template."""
    metadata, given = pod["metadata"], template["spec"].get("metadata") or {}
    made = {
        "generateName": f"{metadata['name']}-{name}-",
        "namespace": metadata["namespace"],
        "annotations": {**(given.get("annotations") or {}), ANNOTATION: name},
        "ownerReferences": [owner_reference(pod, PODS)],
    }
    if given.get("labels"):
        made["labels"] = given["labels"]
    spec = template["spec"]["spec"]
    return {"apiVersion": RESOURCE_CLAIMS.api_version, "kind": RESOURCE_CLAIMS.kind, "metadata": made, "spec": spec}


class ResourceClaimMaker(Controller):
    """Keys are pods."""

    name = "resource-claim-controller"

    def __init__(
        self, client: Client, pods: Informer, claims: Informer, templates: Informer, events: EventRecorder
    ) -> None:
        super().__init__(client)
        self.pods, self.claims, self.templates, self.events = pods, claims, templates, events
        self._made: dict[tuple[str, str], str] = {}
        """Claims that were made and may not be in the informer yet, by pod uid and entry."""
        claims.add_index(BY_POD, pod_uid)
        pods.add_index(BY_TEMPLATE, templates_of)
        pods.add_handler(self._forget)
        self.watch(pods, lambda pod: [key_of(pod)] if templates_of(pod) else [])
        self.watch(templates, lambda one: [key_of(pod) for pod in pods.by_index(BY_TEMPLATE, key_of(one))])

    def _forget(self, change: str, old: Object | None, new: Object) -> None:
        if change == "DELETED" and self._made:
            uid = new["metadata"]["uid"]
            self._made = {key: name for key, name in self._made.items() if key[0] != uid}

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or over(pod) or "deletionTimestamp" in pod["metadata"]:
            return None
        told = [
            {"name": name, "resourceClaimName": made} for name, made, own in resource_claim_names(pod) if own and made
        ]
        missing = [name for name, made, _ in resource_claim_names(pod) if made is None]
        for name in missing:
            made = await self._claim(pod, name)
            if made is None:
                return None  # its template comes, and we are called again
            told.append({"name": name, "resourceClaimName": made})
        if missing:
            patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"resourceClaimStatuses": told}}
            metadata = pod["metadata"]
            await self.client.patch(
                PODS, metadata["name"], patch, metadata["namespace"], type="strategic", subresource="status"
            )
        return None

    async def _claim(self, pod: Object, name: str) -> str | None:
        """Return the name of the claim of a pod's entry, made if need be; None where there is no template."""
        uid = pod["metadata"]["uid"]
        for claim in self.claims.by_index(BY_POD, uid):
            if (claim["metadata"].get("annotations") or {}).get(ANNOTATION) == name:
                return str(claim["metadata"]["name"])
        if (uid, name) in self._made:
            return self._made[uid, name]
        entry = next(one for one in pod["spec"]["resourceClaims"] if one["name"] == name)
        wanted = entry["resourceClaimTemplateName"]
        template = self.templates.get(f"{pod['metadata']['namespace']}/{wanted}")
        if template is None:
            why = f'resourceclaimtemplate.resource.k8s.io "{wanted}" not found'
            self.events.warning(
                pod, "FailedResourceClaimCreation", f"PodResourceClaim {name}: resource claim template: {why}"
            )
            return None
        made = await self.client.create(RESOURCE_CLAIMS, claim_of(pod, name, template))
        self._made[uid, name] = made["metadata"]["name"]
        return self._made[uid, name]


class ResourceClaimReleaser(Controller):
    """Keys are claims."""

    name = "resource-claim-controller"

    def __init__(self, client: Client, pods: Informer, claims: Informer) -> None:
        super().__init__(client)
        self.pods, self.claims = pods, claims
        claims.add_index(BY_POD, pod_uid)
        self.watch(claims)
        self.watch(pods, self._claims)

    def _claims(self, pod: Object) -> list[str]:
        namespace = pod["metadata"]["namespace"]
        return [f"{namespace}/{name}" for _, name, _ in resource_claim_names(pod) if name]

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None:
            return None
        status = claim.get("status") or {}
        users = status.get("reservedFor") or []
        kept = [user for user in users if await self._uses(claim, user)]
        if (users and kept != users) or (status.get("allocation") and not kept):
            changed = {name: value for name, value in status.items() if name != "reservedFor"}
            if kept:
                changed["reservedFor"] = kept
            else:
                changed.pop("allocation", None)
                changed.pop("devices", None)
            claim = await self.client.update(RESOURCE_CLAIMS, {**claim, "status": changed}, subresource="status")
        if not (claim.get("status") or {}).get("allocation"):
            await self._let_go(claim)
        return None

    async def _uses(self, claim: Object, user: Object) -> bool:
        if user.get("apiGroup") or user.get("resource") != "pods":
            return True  # who else uses it says itself when it does not any more
        namespace = claim["metadata"]["namespace"]
        pod = self.pods.get(f"{namespace}/{user['name']}")
        if pod is None:  # the informer may be behind
            try:
                pod = await self.client.get(PODS, user["name"], namespace)
            except ApiError as error:
                if not error.is_not_found:
                    raise
        return pod is not None and pod["metadata"]["uid"] == user["uid"] and not over(pod)

    async def _let_go(self, claim: Object) -> None:
        """Let a claim without devices be deleted, and delete it when the pod that it was made for is over."""
        metadata = claim["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER in finalizers:
            left = [one for one in finalizers if one != FINALIZER]
            claim = await self.client.update(RESOURCE_CLAIMS, {**claim, "metadata": {**metadata, "finalizers": left}})
        owner = controller_of(claim)
        if owner is None or owner.get("kind") != "Pod" or "deletionTimestamp" in metadata:
            return
        pod = self.pods.get(f"{metadata['namespace']}/{owner['name']}")
        if pod is not None and pod["metadata"]["uid"] == owner["uid"] and over(pod):
            try:
                await self.client.delete(RESOURCE_CLAIMS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
            except ApiError as error:
                if not error.is_not_found:
                    raise
