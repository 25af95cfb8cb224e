"""Follows what ``k8s_gateway`` takes names from, from the first time that a Corefile asks for it.

Gateway API's kinds may come to be later than we: they are looked for until the cluster serves them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS
from sampan.dns.following import Table
from sampan.dns.gateway_names import GROUP, RESOURCES, GatewayNames, Named, named


class GatewayWatch:
    """``spawn`` starts a task of the owner's group."""

    def __init__(self, client: Client, spawn: Callable[..., asyncio.Task[Any]]) -> None:
        self._client = client
        self._spawn = spawn
        self._tables: dict[str, Table[Named]] = {}
        self._names: list[GatewayNames] = []

    def forget(self) -> None:
        """Tell nobody any more; what is followed stays so."""
        self._names = []

    def feed(self, names: GatewayNames) -> None:
        """Tell these names what there is and what changes."""
        self._names.append(names)
        for kind in RESOURCES:
            if kind not in names.settings.resources:
                continue
            table = self._tables.get(kind)
            if table is None:
                table = Table(self._client, RESOURCES[kind], partial(named, kind), partial(self._changed, kind))
                self._tables[kind] = table
                self._spawn(self._follow(table, RESOURCES[kind]), name=f"dns-{RESOURCES[kind].plural}")
            for key, one in table.entries.items():
                names.take(kind, key, one)

    def _changed(self, kind: str, key: str, old: Named | None, new: Named | None) -> None:
        for names in self._names:
            names.take(kind, key, new)

    async def _follow(self, table: Table[Named], resource: ResourceType) -> None:
        if resource.group == GROUP:
            await self._served(resource)
        await table.run()

    async def _served(self, resource: ResourceType) -> None:
        """Return when the cluster has a definition of the resource, for good or until now."""
        name = f"metadata.name={resource.plural}.{resource.group}"
        definitions = Informer(self._client, CUSTOM_RESOURCE_DEFINITIONS, field_selector=name)
        there = asyncio.Event()
        definitions.add_handler(lambda change, old, new: there.set())
        looking = asyncio.create_task(definitions.run(), name=f"dns-wait-{resource.plural}")
        try:
            await there.wait()
        finally:
            looking.cancel()
