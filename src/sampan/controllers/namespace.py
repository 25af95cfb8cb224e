"""Namespace deletion: everything in it goes, then the namespace does; its conditions say what it waits for.

Level-based: each deletion of an object of the namespace brings the namespace back to the queue. Source: core/v1 Namespace
conditions, the finalize subresource.
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
from sampan.controllers.ownership import with_condition
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

    def _on_change(self, resource: ResourceType, change: str, old: Object | None, new: Object) -> None:
        namespace = new["metadata"].get("namespace")
        if namespace is None:
            return
        there = self.namespaces.get(namespace)
        if there is not None and "deletionTimestamp" in there["metadata"]:
            self.queue.add(namespace)

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        namespace = self.namespaces.get(key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        content = list(self.graph.in_namespace(key))
        await asyncio.gather(*(self._delete(resource, obj) for resource, obj in content))
        remaining = [entry for entry in content if self._is_there(*entry)]
        if remaining:
            await self._explain(namespace, remaining)
            return None
        left = await self._asked(key)
        if left:
            return 0.05  # the informers have not seen these yet
        await self.client.raw("DELETE", EVENTS.path(key))
        finalizers = [name for name in (namespace.get("spec") or {}).get("finalizers") or () if name != FINALIZER]
        body = {**namespace, "spec": {**(namespace.get("spec") or {}), "finalizers": finalizers}}
        status, answer = await self.client.raw("PUT", NAMESPACES.path(None, key, "finalize"), body=body)
        if status >= 400 and status not in (404, 409):
            raise ApiError(status, orjson.loads(answer))
        return None

    def _is_there(self, resource: ResourceType, obj: Object) -> bool:
        found = self.graph.object_with(obj["metadata"]["uid"])
        return found is not None

    async def _asked(self, namespace: str) -> int:
        """Return how many objects the API itself says there are."""
        total = 0
        for resource in self.graph.resources:
            if resource.namespaced:
                found = await self.client.list(resource, namespace)
                for obj in found.items:
                    await self._delete(resource, obj)
                total += len(found.items)
        return total

    async def _delete(self, resource: ResourceType, obj: Object) -> None:
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata:
            return
        try:
            await self.client.delete(
                resource, metadata["name"], metadata["namespace"], propagation_policy="Background", uid=metadata["uid"]
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _explain(self, namespace: Object, remaining: list[tuple[ResourceType, Object]]) -> None:
        """Write the conditions that ``kubectl describe namespace`` shows."""
        counts: dict[str, int] = {}
        holders: dict[str, int] = {}
        for resource, obj in remaining:
            name = f"{resource.plural}.{resource.group}"  # "pods." for the core group, as Kubernetes prints it
            counts[name] = counts.get(name, 0) + 1
            for finalizer in obj["metadata"].get("finalizers") or ():
                holders[finalizer] = holders.get(finalizer, 0) + 1
        now = timestamp()
        status = dict(namespace.get("status", {}))
        conditions = list(status.get("conditions") or ())
        text = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(counts.items()))
        content = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {text}",
        }
        conditions = with_condition(conditions, content, now)
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(holders.items()))
        finalizers = {
            "type": "NamespaceFinalizersRemaining",
            "status": "True" if holders else "False",
            "reason": "SomeFinalizersRemain" if holders else "ContentHasNoFinalizers",
            "message": f"Some content in the namespace has finalizers remaining: {held}"
            if holders
            else "All content-preserving finalizers finished",
        }
        status["conditions"] = with_condition(conditions, finalizers, now)
        if status != namespace.get("status"):
            await self.client.update(NAMESPACES, {**namespace, "status": status}, subresource="status")
