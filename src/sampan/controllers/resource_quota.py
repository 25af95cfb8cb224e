"""ResourceQuotas say truly what is used: hard limits taken over, everything counted anew when something goes.

Admission charges what is created (``api/admission/resource_quota.py``); this controller sets ``status.hard`` of a new or
changed quota, counts what is there, and takes off what was deleted or has ended. What comes is counted a moment later, too:
a count that was made while a create was on its way would else stay wrong. Source: kubernetes pkg/controller/resourcequota.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sampan.api.quotas.amounts import Amounts, only, read, text, total
from sampan.api.quotas.coverage import in_scope, selectors_of, tracked
from sampan.api.quotas.usage import usage
from sampan.client.controller import Controller
from sampan.client.informer import Change, Informer
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.graph import Graph
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

QUOTAS = ResourceType("", "v1", "resourcequotas", "ResourceQuota")
SETTLE_SECONDS = 1.0
"""When what was created is counted: the write that charged it is over by then."""

GIVING_BACK = {("", "pods"), ("", "services"), ("", "persistentvolumeclaims")}
"""Resources whose objects may use less without being deleted."""


class ResourceQuotaController(Controller):
    name = "resourcequota-controller"

    def __init__(self, client: Client, quotas: Informer, graph: Graph) -> None:
        super().__init__(client)
        self.quotas = quotas
        self.graph = graph
        quotas.add_index("namespace", lambda quota: [quota["metadata"]["namespace"]])
        self.watch(quotas, lambda quota: [] if settled(quota) else own_keys(quota))
        self._soon: set[str] = set()
        graph.add_listener(self._on_change)

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        self._soon.discard(key)
        quota = self.quotas.get(key)
        if quota is None:
            return None
        hard = read((quota.get("spec") or {}).get("hard") or {})
        status = {"hard": text(hard), "used": text(self._count(quota, hard))}
        if (quota.get("status") or {}) != status:
            await self.client.update(QUOTAS, {**quota, "status": status}, subresource="status")
        return None

    def _count(self, quota: Object, hard: Amounts) -> Amounts:
        """Return what is used of each resource that a quota bounds."""
        return {**dict.fromkeys(hard, parse("0")), **total(self._uses(quota, hard))}

    def _uses(self, quota: Object, hard: Amounts) -> Iterator[Amounts]:
        now, selectors = datetime.now(UTC), list(selectors_of(quota))
        bounded: dict[ResourceType, list[str]] = {}
        for resource, obj in self.graph.in_namespace(quota["metadata"]["namespace"]):
            if resource not in bounded:
                bounded[resource] = [name for name in hard if tracked(resource.group, resource.plural, name)]
            names = bounded[resource]
            if names and all(in_scope(selector, resource.group, resource.plural, obj) for selector in selectors):
                yield only(usage(resource.group, resource.plural, obj, now), names)

    def _on_change(self, resource: ResourceType, change: Change, old: Object | None, new: Object) -> None:
        namespace = new["metadata"].get("namespace")
        for quota in self.quotas.by_index("namespace", namespace) if namespace else ():
            names = ((quota.get("spec") or {}).get("hard") or {}).keys()
            if not any(tracked(resource.group, resource.plural, name) for name in names):
                continue
            (key,) = own_keys(quota)
            if change == "DELETED" or (old is not None and gives_back(resource, old, new)):
                self.queue.add(key)
            elif change == "ADDED" and key not in self._soon:
                self._soon.add(key)
                self.queue.add_after(key, SETTLE_SECONDS)


def own_keys(quota: Object) -> list[str]:
    return [f"{quota['metadata']['namespace']}/{quota['metadata']['name']}"]


def settled(quota: Object) -> bool:
    """Whether the status speaks of the limits that the spec has."""
    status, hard = quota.get("status") or {}, read((quota.get("spec") or {}).get("hard") or {})
    return "used" in status and read(status.get("hard") or {}) == hard and read(status["used"]).keys() == hard.keys()


def gives_back(resource: ResourceType, old: Object, new: Object) -> bool:
    here = (resource.group, resource.plural)
    return here in GIVING_BACK and usage(*here, old) != usage(*here, new)
