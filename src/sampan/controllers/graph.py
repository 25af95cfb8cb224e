"""Every object there is, by who owns it: one informer for each resource that discovery names.

The garbage collector and the namespace controller read it. Resources come and go with CRDs and extension servers, so
discovery is read again whenever a CustomResourceDefinition or the APIService of an extension server changes. Only what says
whose an object is is kept of it (``ownership``), unless another controller has an informer with whole objects already: a
hundred thousand objects of somebody's operator must cost the API's process neither memory nor the time that Python's
collector takes to look at them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import orjson

from sampan.client.informer import Change, Informer, key_of
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import EVENTS
from sampan.schema.objects import Object, split_api_version

OWNERS = "owner-uids"
NAMESPACE = "namespace"
KEPT = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")
"""The parts of metadata that the garbage collector and the deletion of namespaces go by."""
NEEDED_VERBS = {"delete", "list", "watch"}
Listener = Callable[[ResourceType, Change, "Object | None", Object], None]


def owner_uids(obj: Object) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]


def ownership(obj: Object) -> Object:
    """Return what the graph keeps of an object."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in KEPT if name in metadata}}


def namespaces_of(obj: Object) -> list[str]:
    namespace = obj["metadata"].get("namespace")
    return [namespace] if namespace else []


class Discovered(NamedTuple):
    """Resources whose objects can be listed, watched and deleted, and what could not be learned."""

    resources: list[ResourceType]
    undiscovered: dict[str, str]
    """Group versions of extension servers that do not answer, and why."""
    unparsed: str
    """What is wrong with a group version that one of them named."""


async def discover(client: Client) -> Discovered:
    """Return the resources, in their preferred versions."""
    group_versions = ["v1"]
    _, body = await client.raw("GET", "/apis")
    for group in orjson.loads(body).get("groups") or ():
        group_versions.append(group["preferredVersion"]["groupVersion"])
    found: list[ResourceType] = []
    undiscovered: dict[str, str] = {}
    unparsed = ""
    for name in group_versions:
        status, body = await client.raw("GET", f"/apis/{name}" if "/" in name else f"/api/{name}")
        if status >= 500:
            undiscovered[name] = f"stale GroupVersion discovery: {name}"
        if status != 200:
            continue  # a group that went away between the two requests
        answer = orjson.loads(body)
        if str(answer["groupVersion"]).count("/") > 1:
            unparsed = f"unexpected GroupVersion string: {answer['groupVersion']}"
            continue
        group, version = split_api_version(answer["groupVersion"])
        found += [
            ResourceType(group, version, entry["name"], entry["kind"], entry["namespaced"])
            for entry in answer["resources"]
            if "/" not in entry["name"] and set(entry["verbs"]) >= NEEDED_VERBS
        ]
    kept = [resource for resource in found if resource != EVENTS and resource.group != "events.k8s.io"]
    return Discovered(kept, undiscovered, unparsed)


class Graph:
    """All objects but Events, of most only the ``ownership``. ``informer_of`` gives an informer of that, or a whole one that
    other controllers share already; ``drop`` ends one."""

    name = "graph"
    user = "generic-garbage-collector"

    def __init__(
        self,
        client: Client,
        informer_of: Callable[[ResourceType], Informer],
        drop: Callable[[ResourceType], None],
        *,
        definitions: Informer,
        services: Informer,
    ) -> None:
        self._client = client
        self._informer_of = informer_of
        self._drop = drop
        self._listeners: list[Listener] = []
        self._discovery_listeners: list[Callable[[], None]] = []
        self.undiscovered: dict[str, str] = {}
        self.unparsed = ""
        """What discovery could not tell (``Discovered``)."""
        self._informers: dict[ResourceType, Informer] = {}
        self._keys: dict[ResourceType, dict[str, str]] = {}
        """The informers' keys by uid."""
        self._changed = asyncio.Event()
        self._changed.set()
        self._whole = asyncio.Event()
        definitions.add_handler(lambda change, old, new: self._changed.set())
        services.add_handler(self._api_service)

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def on_discovery(self, listener: Callable[[], None]) -> None:
        """Call a listener whenever discovery was read."""
        self._discovery_listeners.append(listener)

    async def synced(self) -> None:
        """Return when every resource has been listed once."""
        await self._whole.wait()

    @property
    def resources(self) -> list[ResourceType]:
        return list(self._informers)

    def kind(self, api_version: str, kind: str) -> ResourceType | None:
        """Return the resource of a kind, in any version of its group."""
        group, _ = split_api_version(api_version)
        return next((r for r in self._informers if r.group == group and r.kind == kind), None)

    def object_with(self, uid: str) -> tuple[ResourceType, Object] | None:
        for resource, keys in self._keys.items():
            key = keys.get(uid)
            if key is not None:
                return resource, self._informers[resource].objects[key]
        return None

    def dependents(self, uid: str) -> Iterator[tuple[ResourceType, Object]]:
        for resource, informer in self._informers.items():
            for obj in informer.by_index(OWNERS, uid):
                yield resource, obj

    def in_namespace(self, namespace: str) -> Iterator[tuple[ResourceType, Object]]:
        for resource, informer in self._informers.items():
            if resource.namespaced:
                for obj in informer.by_index(NAMESPACE, namespace):
                    yield resource, obj

    def _api_service(self, change: Change, old: Object | None, new: Object) -> None:
        """An extension server came, went, or answers again: what it serves is in discovery, or no longer."""
        if new["spec"].get("service") is not None:
            self._changed.set()

    async def run(self) -> None:
        """Follow discovery until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            there, self.undiscovered, self.unparsed = await discover(self._client)
            for resource in [resource for resource in self._informers if resource not in there]:
                del self._informers[resource], self._keys[resource]
                self._drop(resource)
            for resource in [resource for resource in there if resource not in self._informers]:
                self._follow(resource)
            if not self._whole.is_set():
                await self._first_lists()
            for tell in self._discovery_listeners:
                tell()

    async def _first_lists(self) -> None:
        """Wait for every list, but not for that of a resource that goes away meanwhile: discovery is read again then."""
        async with asyncio.TaskGroup() as group:
            changed = group.create_task(self._changed.wait())
            for informer in self._informers.values():
                listed = group.create_task(informer.synced())
                await asyncio.wait({listed, changed}, return_when=asyncio.FIRST_COMPLETED)
                listed.cancel()
                if changed.done():
                    return
            changed.cancel()
        self._whole.set()

    def _follow(self, resource: ResourceType) -> None:
        informer = self._informer_of(resource)
        informer.add_index(OWNERS, owner_uids)
        informer.add_index(NAMESPACE, namespaces_of)
        self._informers[resource] = informer
        keys = self._keys[resource] = {}

        def tell(change: Change, old: Object | None, new: Object) -> None:
            uid = new["metadata"]["uid"]
            if change == "DELETED":
                keys.pop(uid, None)
            elif old is None:
                keys[uid] = key_of(new)
            for listener in self._listeners:
                listener(resource, change, old, new)

        informer.add_handler(tell)
