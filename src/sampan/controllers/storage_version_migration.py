"""StorageVersionMigration: every object of a resource is written once more, unchanged, so that it is stored in the version
that the resource is stored in now.

An object that somebody writes meanwhile is migrated by that write, one that goes needs nothing. The kind is served only
where ``runtime-config`` asks for it, so it is followed through the graph of what is served. Source: KEP-4192.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.informer import Change
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.graph import Graph
from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.objects import Object

GROUP, PLURAL = "storagemigration.k8s.io", "storageversionmigrations"


def ended(migration: Object) -> bool:
    """Whether a migration has succeeded or failed; either is final."""
    found = [condition_of(migration, type) for type in ("Succeeded", "Failed")]
    return any(condition is not None and condition["status"] == "True" for condition in found)


def status_of(migration: Object, type: str, reason: str, message: str = "", revision: str = "") -> Object:
    """Return the status with one condition true; ``Running`` ends with the others."""
    conditions = list((migration.get("status") or {}).get("conditions") or ())
    new = {"type": type, "status": "True", "reason": reason, "message": message}
    conditions = with_condition(conditions, new, timestamp())
    if type != "Running" and condition_of(migration, "Running") is not None:
        stopped = {"type": "Running", "status": "False", "reason": reason, "message": ""}
        conditions = with_condition(conditions, stopped, timestamp())
    found: Object = {**(migration.get("status") or {}), "conditions": conditions}
    return found | ({"resourceVersion": revision} if revision else {})


class StorageVersionMigrationController(Controller):
    name = "storage-version-migrator-controller"
    workers = 1

    def __init__(self, client: Client, graph: Graph) -> None:
        super().__init__(client)
        self.graph = graph
        graph.add_listener(self._on_change)

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    def _on_change(self, resource: ResourceType, change: Change, old: Object | None, new: Object) -> None:
        if (resource.group, resource.plural) == (GROUP, PLURAL) and change != "DELETED":
            self.queue.add(new["metadata"]["name"])

    async def reconcile(self, key: str) -> float | None:
        kind = next((r for r in self.graph.resources if (r.group, r.plural) == (GROUP, PLURAL)), None)
        if kind is None:
            return None
        try:
            migration = await self.client.get(kind, key)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        if ended(migration):
            return None
        asked = migration["spec"]["resource"]
        group, plural = asked.get("group", ""), asked["resource"]
        target = next((r for r in self.graph.resources if (r.group, r.plural) == (group, plural)), None)
        if target is None:
            name = f"{plural}.{group}" if group else plural
            await self._write(
                kind, migration, status_of(migration, "Failed", "ResourceNotFound", f"{name} is not served")
            )
            return None
        if condition_of(migration, "Running") is None:
            running = status_of(migration, "Running", "StorageVersionMigrationInProgress")
            migration = await self._write(kind, migration, running)
        found = await self.client.list(target)
        for obj in found.items:
            await self._rewrite(target, {"apiVersion": target.api_version, "kind": target.kind, **obj})
        done = status_of(migration, "Succeeded", "StorageVersionMigrationSucceeded", revision=found.resource_version)
        await self._write(kind, migration, done)
        return None

    async def _rewrite(self, target: ResourceType, obj: Object) -> None:
        try:
            await self.client.update(target, obj)
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                raise

    async def _write(self, kind: ResourceType, migration: Object, status: Object) -> Object:
        return await self.client.update(kind, {**migration, "status": status}, subresource="status")
