"""Garbage collection: objects whose owners are gone go too; foreground deletion and orphaning are carried out.

Keys are uids. For each the present state decides: being deleted in the foreground, being deleted as orphans' parent, or an
object with owners of which none exists any more. Source: the garbage collection page of Kubernetes, meta/v1
OwnerReference, DeletionPropagation.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.claiming import set_owners
from sampan.controllers.graph import Graph
from sampan.schema.objects import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
UNKNOWN: Object = {"metadata": {}}
"""An owner that cannot be looked up: never collect on a guess."""


class GarbageCollector(Controller):
    name = "generic-garbage-collector"
    workers = 8

    def __init__(self, client: Client, graph: Graph) -> None:
        super().__init__(client)
        self.graph = graph
        graph.add_listener(self._on_change)

    def _on_change(self, resource: ResourceType, change: str, old: Object | None, new: Object) -> None:
        metadata = new["metadata"]
        owners = metadata.get("ownerReferences") or ()
        if change == "DELETED":
            for _, dependent in self.graph.dependents(metadata["uid"]):
                self.queue.add(dependent["metadata"]["uid"])
            for reference in owners:  # an owner may wait for this one in the foreground
                self.queue.add(reference["uid"])
            return
        if owners or "deletionTimestamp" in metadata:
            self.queue.add(metadata["uid"])
        kept = {(reference["uid"], bool(reference.get("blockOwnerDeletion"))) for reference in owners}
        for reference in (old or new)["metadata"].get("ownerReferences") or ():
            if (reference["uid"], bool(reference.get("blockOwnerDeletion"))) not in kept:
                self.queue.add(reference["uid"])  # it may have waited for this one

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        found = self.graph.object_with(key)
        if found is None:
            return None
        resource, obj = found
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "deletionTimestamp" in metadata:
            if ORPHAN in finalizers:
                await self._orphan(resource, obj)
            elif FOREGROUND in finalizers:
                await self._wait_for_dependents(resource, obj)
            return None
        if metadata.get("ownerReferences"):
            await self._collect(resource, obj)
        return None

    async def _collect(self, resource: ResourceType, obj: Object) -> None:
        """Delete an object that had owners and has none now; drop references to those that are gone."""
        metadata = obj["metadata"]
        references = metadata["ownerReferences"]
        solid, waiting = [], False
        for reference in references:
            owner = await self._owner(reference, metadata.get("namespace"))
            if owner is None:
                continue
            if _waits(owner):
                waiting = True
            else:
                solid.append(reference)
        if solid:
            if len(solid) < len(references):
                await set_owners(self.client, obj, solid, resource)
            return
        finalizers = metadata.get("finalizers") or ()
        if ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers or (waiting and self._has_dependents(metadata["uid"])):
            policy = "Foreground"
            blocks = any(reference.get("blockOwnerDeletion") for reference in references)
            if blocks and any(_waits(dependent) for _, dependent in self.graph.dependents(metadata["uid"])):
                # perhaps a circle of owners: one of it must not wait, and this one does not
                await set_owners(self.client, obj, [{**r, "blockOwnerDeletion": False} for r in references], resource)
        else:
            policy = "Background"
        await self._delete(resource, obj, policy)

    def _has_dependents(self, uid: str) -> bool:
        return next(self.graph.dependents(uid), None) is not None

    async def _owner(self, reference: Object, namespace: str | None) -> Object | None:
        """Return the owner as the API has it now: the informers may not know it yet."""
        known = self.graph.object_with(reference["uid"])
        if known is not None:
            return known[1]
        resource = self.graph.kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            return UNKNOWN
        if resource.namespaced and namespace is None:
            return UNKNOWN  # a cluster-wide object cannot have an owner in a namespace
        named = self.graph.named(resource, reference["name"], namespace if resource.namespaced else None)
        if named is not None and named["metadata"]["uid"] == reference["uid"]:
            return named
        try:
            owner = await self.client.get(resource, reference["name"], namespace if resource.namespaced else None)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        return owner if owner["metadata"]["uid"] == reference["uid"] else None

    async def _wait_for_dependents(self, resource: ResourceType, owner: Object) -> None:
        """Let an owner go when no dependent blocks it; each decides for itself, since it may have other owners."""
        uid = owner["metadata"]["uid"]
        blocking = False
        for _, dependent in list(self.graph.dependents(uid)):
            metadata = dependent["metadata"]
            reference = next(r for r in metadata["ownerReferences"] if r["uid"] == uid)
            blocking |= bool(reference.get("blockOwnerDeletion"))
            if "deletionTimestamp" not in metadata:
                self.queue.add(metadata["uid"])
        if not blocking:
            await self._remove_finalizer(resource, owner, FOREGROUND)

    async def _orphan(self, resource: ResourceType, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for dependent_resource, dependent in list(self.graph.dependents(uid)):
            kept = [r for r in dependent["metadata"]["ownerReferences"] if r["uid"] != uid]
            try:
                await set_owners(self.client, dependent, kept, dependent_resource)
            except ApiError as error:
                if not error.is_not_found:
                    raise
        await self._remove_finalizer(resource, owner, ORPHAN)

    async def _delete(self, resource: ResourceType, obj: Object, policy: str) -> None:
        metadata = obj["metadata"]
        try:
            await self.client.delete(
                resource, metadata["name"], metadata.get("namespace"), propagation_policy=policy, uid=metadata["uid"]
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _remove_finalizer(self, resource: ResourceType, obj: Object, finalizer: str) -> None:
        metadata = obj["metadata"]
        kept = [name for name in metadata.get("finalizers") or () if name != finalizer]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}}
        try:
            await self.client.patch(resource, metadata["name"], patch, metadata.get("namespace"))
        except ApiError as error:
            if not error.is_not_found:
                raise


def _waits(obj: Object) -> bool:
    """Tell whether an object waits for its dependents to be deleted."""
    metadata = obj["metadata"]
    return "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or ())
