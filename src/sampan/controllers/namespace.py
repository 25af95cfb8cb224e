"""Namespace deletion: everything in it goes, then the namespace does; its conditions say what it waits for.

Pods go first. Level-based: each deletion of an object of the namespace brings the namespace back to the queue, and so does
discovery that was read anew. Source: core/v1 Namespace conditions, the finalize subresource; KEP-5080 (ordered deletion).
"""

from __future__ import annotations

import asyncio

import orjson

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import EVENTS, NAMESPACES
from sampan.controllers.graph import Graph
from sampan.controllers.namespace_conditions import Findings, conditions
from sampan.schema.objects import Object

FINALIZER = "kubernetes"


class NamespaceController(Controller):
    name = "namespace-controller"

    def __init__(self, client: Client, namespaces: Informer, graph: Graph) -> None:
        super().__init__(client)
        self.namespaces = namespaces
        self.graph = graph
        self.watch(namespaces, lambda obj: [obj["metadata"]["name"]] if "deletionTimestamp" in obj["metadata"] else [])
        graph.add_listener(self._on_change)
        graph.on_discovery(self._on_discovery)

    def _on_change(self, resource: ResourceType, change: str, old: Object | None, new: Object) -> None:
        namespace = new["metadata"].get("namespace")
        if namespace is None:
            return
        there = self.namespaces.get(namespace)
        if there is not None and "deletionTimestamp" in there["metadata"]:
            self.queue.add(namespace)

    def _on_discovery(self) -> None:
        """What could not be discovered may hold objects: whoever waits for that looks again."""
        for namespace in self.namespaces.all():
            if "deletionTimestamp" in namespace["metadata"]:
                self.queue.add(namespace["metadata"]["name"])

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        namespace = self.namespaces.get(key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        content = list(self.graph.in_namespace(key))
        # first the pods, while what guards them is still there (policies, the ConfigMaps they read at their end)
        content = [entry for entry in content if entry[0].plural == "pods" and not entry[0].group] or content
        refused = await self._delete_all(content)
        remaining = [entry for entry in content if self._is_there(*entry)]
        found = Findings(self.graph.undiscovered, self.graph.unparsed, [str(error) for error in refused], remaining)
        waits = bool(remaining or refused or found.undiscovered or found.unparsed)
        if not waits and await self._asked(key):
            return 0.05  # the informers have not seen these yet
        if waits or conditions_of(namespace) or finalizers_of(namespace) != [FINALIZER]:
            namespace = await self._explain(namespace, found)
        if refused:
            raise refused[0]
        if waits:
            return None
        await self.client.raw("DELETE", EVENTS.path(key))
        left = [name for name in finalizers_of(namespace) if name != FINALIZER]
        body = {**namespace, "spec": {**(namespace.get("spec") or {}), "finalizers": left}}
        status, answer = await self.client.raw("PUT", NAMESPACES.path(None, key, "finalize"), body=body)
        if status >= 400 and status not in (404, 409):
            raise ApiError(status, orjson.loads(answer))
        return None

    def _is_there(self, resource: ResourceType, obj: Object) -> bool:
        metadata = obj["metadata"]
        found = self.graph.named(resource, metadata["name"], metadata.get("namespace"))
        return found is not None and found["metadata"]["uid"] == metadata["uid"]

    async def _asked(self, namespace: str) -> int:
        """Return how many objects the API itself says there are."""
        total = 0
        for resource in self.graph.resources:
            if resource.namespaced:
                found = await self.client.list(resource, namespace)
                for refused in await self._delete_all([(resource, obj) for obj in found.items]):
                    raise refused
                total += len(found.items)
        return total

    async def _delete_all(self, content: list[tuple[ResourceType, Object]]) -> list[ApiError]:
        """Delete objects; return the refusals, one a resource."""
        told = await asyncio.gather(*(self._delete(resource, obj) for resource, obj in content))
        refused = {resource: error for (resource, _), error in zip(content, told, strict=True) if error is not None}
        return list(refused.values())

    async def _delete(self, resource: ResourceType, obj: Object) -> ApiError | None:
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata:
            return None
        try:
            await self.client.delete(
                resource, metadata["name"], metadata["namespace"], propagation_policy="Background", uid=metadata["uid"]
            )
        except ApiError as error:
            return None if error.is_not_found or error.is_conflict else error
        return None

    async def _explain(self, namespace: Object, found: Findings) -> Object:
        """Write the conditions that ``kubectl describe namespace`` shows; return the namespace as it is then."""
        old = namespace.get("status") or {}
        status = {**old, "conditions": conditions(old.get("conditions") or (), found, timestamp())}
        if status == old:
            return namespace
        return await self.client.update(NAMESPACES, {**namespace, "status": status}, subresource="status")


def conditions_of(namespace: Object) -> list[Object]:
    return (namespace.get("status") or {}).get("conditions") or []


def finalizers_of(namespace: Object) -> list[str]:
    return list((namespace.get("spec") or {}).get("finalizers") or ())
