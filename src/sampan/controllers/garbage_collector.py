"""Garbage collection: objects whose owners are gone go too; foreground deletion and orphaning are carried out.

Keys are uids. For each the present state decides: being deleted in the foreground, being deleted as orphans' parent, or an
object with owners of which none exists any more. Source: the garbage collection page of Kubernetes, meta/v1
OwnerReference, DeletionPropagation.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.graph import Graph
from sampan.schema.objects import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


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
                await self._delete_dependents(resource, obj)
            return None
        if metadata.get("ownerReferences"):
            await self._collect(resource, obj)
        return None

    async def _collect(self, resource: ResourceType, obj: Object) -> None:
        """Delete an object that had owners and has none now; drop references to those that are gone."""
        metadata = obj["metadata"]
        references = metadata["ownerReferences"]
        present, waiting = [], False
        for reference in references:
            owner = await self._owner(reference, metadata.get("namespace"))
            if owner is None:
                continue
            present.append(reference)
            owned = owner["metadata"]
            waiting |= "deletionTimestamp" in owned and FOREGROUND in (owned.get("finalizers") or ())
        if present and not waiting:
            if len(present) < len(references):
                patch = {"metadata": {"uid": metadata["uid"], "ownerReferences": present}}
                await self.client.patch(resource, metadata["name"], patch, metadata.get("namespace"))
            return
        finalizers = metadata.get("finalizers") or ()
        policy = (
            "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers or waiting else "Background"
        )
        await self._delete(resource, obj, policy)

    async def _owner(self, reference: Object, namespace: str | None) -> Object | None:
        """Return the owner as the API has it now: the informers may not know it yet."""
        known = self.graph.object_with(reference["uid"])
        if known is not None:
            return known[1]
        resource = self.graph.kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            return {"metadata": {}}  # a kind that is not served: never collect on a guess
        try:
            owner = await self.client.get(resource, reference["name"], namespace if resource.namespaced else None)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        return owner if owner["metadata"]["uid"] == reference["uid"] else None

    async def _delete_dependents(self, resource: ResourceType, owner: Object) -> None:
        blocking = False
        for dependent_resource, dependent in list(self.graph.dependents(owner["metadata"]["uid"])):
            reference = next(
                r for r in dependent["metadata"]["ownerReferences"] if r["uid"] == owner["metadata"]["uid"]
            )
            blocking |= bool(reference.get("blockOwnerDeletion"))
            if "deletionTimestamp" not in dependent["metadata"]:
                await self._delete(dependent_resource, dependent, "Foreground")
        if not blocking:
            await self._remove_finalizer(resource, owner, FOREGROUND)

    async def _orphan(self, resource: ResourceType, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for dependent_resource, dependent in list(self.graph.dependents(uid)):
            metadata = dependent["metadata"]
            kept = [r for r in metadata["ownerReferences"] if r["uid"] != uid]
            patch = {"metadata": {"uid": metadata["uid"], "ownerReferences": kept}}
            try:
                await self.client.patch(dependent_resource, metadata["name"], patch, metadata.get("namespace"))
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
