"""The APIServices of one API: which group's versions go elsewhere, followed as they are written.

Local ones are always available, and those of our own groups are kept here; each remote one has a ``Remote`` that requests
are carried by and a task that checks it. Changes are in force when the write is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api import metadata
from sampan.api.aggregation import local
from sampan.api.aggregation.availability import keep_checking
from sampan.api.aggregation.backend import Backends
from sampan.api.aggregation.local import PREFIX
from sampan.api.aggregation.proxy import Remote
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import dig, items
from sampan.schema.objects import Object
from sampan.store import Event

if TYPE_CHECKING:
    from sampan.api.app import Api


class ApiServices:
    """An admission plugin for APIServices, and the keeper of ``api.remotes``."""

    def __init__(self, api: Api, pki_dir: Path) -> None:
        self.api = api
        self.backends = Backends(api, pki_dir)
        self._checks: dict[tuple[str, str], asyncio.Task[None]] = {}
        api.closing.insert(0, self.backends.close)

    async def load(self) -> None:
        """Take over the APIServices in the store, and write those of our own groups that are missing."""
        await local.synchronize(self.api)
        found = [self.api.parsed(record) for record in (await self.api.store.page(PREFIX)).records]
        kept = {key_of(service) for service in found}
        for key in [key for key in self.api.remotes if key not in kept]:
            self._drop(key)
        for service in found:
            self._take(service)

    async def follow(self, events: Sequence[Event]) -> None:
        for event in events:
            service = self.api.parsed(event.record)
            if not event.deleted:
                self._take(service)
            elif self.api.store.get(event.record.key) is None:
                self._drop(key_of(service))

    def _take(self, service: Object) -> None:
        key = key_of(service)
        known = self.api.remotes.get(key)
        if dig(service, "spec", "service") is None:
            if known is not None:
                self._drop(key)
        elif known is not None and known.spec == service["spec"]:
            was = known.available
            known.api_service = service
            if was != known.available:
                self.api.catalog.changed()
        else:
            self._drop(key)
            remote = self.api.remotes[key] = Remote(self.backends, service)
            if known is not None:  # what it serves stays in discovery until it has been asked again
                remote.resources, remote.open_api = known.resources, known.open_api
            name = f"check APIService {service['metadata']['name']}"
            self._checks[key] = self.api.spawn(name, keep_checking(self.api, remote))
            self.api.catalog.changed()

    def _drop(self, key: tuple[str, str]) -> None:
        if self.api.remotes.pop(key, None) is not None:
            self.api.catalog.changed()
        check = self._checks.pop(key, None)
        if check is not None:
            check.cancel()

    # admission

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "APIService" and resource.group == local.OWN

    async def admit(self, admission: Admission) -> None:
        service = admission.object
        if service is None or admission.subresource or dig(service, "spec", "service") is not None:
            return
        if not any(one.get("reason") == "Local" for one in items(service, "status", "conditions")):
            service["status"] = {"conditions": [local.available(metadata.now())]}

    async def commit(self, admission: Admission) -> None:
        record = self.api.store.get(PREFIX + admission.name)
        if record is not None:
            self._take(self.api.parsed(record))
        elif admission.old is not None:
            self._drop(key_of(admission.old))
            await local.synchronize(self.api)


def key_of(service: Object) -> tuple[str, str]:
    spec = service["spec"]
    return spec.get("group") or "", spec.get("version") or ""
