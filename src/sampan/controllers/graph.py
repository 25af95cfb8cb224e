"""Every object there is, by who owns it, for each resource that discovery names.

The garbage collector and the namespace controller read it. Of an object it keeps who it is and who owns it (``Node``), of one
that nobody owns and nothing holds only its name and uid; the whole object only where somebody else's informer has it anyway:
of 10,000 custom resources that is a twentieth. Resources come and
go with CRDs and extension servers, so discovery is read again whenever a CustomResourceDefinition or the APIService of an
extension server changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from sys import intern
from typing import Any, NamedTuple

import orjson

from sampan.client.informer import Change, Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.reflector import Reflector
from sampan.client.resources import EVENTS
from sampan.schema.objects import Object, split_api_version

NEEDED_VERBS = {"delete", "list", "watch"}
KEPT = ("ownerReferences", "finalizers", "deletionTimestamp")
"""Fields of ObjectMeta that few objects have and that matter here."""
Listener = Callable[[ResourceType, Change, "Object | None", Object], None]


class Node:
    """One object: who it is, and ``rest``, what it has of ``KEPT``."""

    __slots__ = ("name", "namespace", "resource", "rest", "revision", "uid")

    def __init__(self, resource: ResourceType, metadata: Object) -> None:
        self.resource = resource
        self.namespace = intern(metadata.get("namespace") or "")
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.revision: str = metadata.get("resourceVersion", "")
        self.rest = {field: metadata[field] for field in KEPT if metadata.get(field)} or None

    @property
    def owners(self) -> list[str]:
        return [reference["uid"] for reference in (self.rest or {}).get("ownerReferences") or ()]

    def object(self) -> Object:
        """Return what is known as an object."""
        metadata = {"name": self.name, "uid": self.uid, **(self.rest or {})}
        if self.revision:
            metadata["resourceVersion"] = self.revision
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {"metadata": metadata}


Uid = int | str
"""A uid as it is kept: its number, which takes half as much, where that tells how it is written."""


def packed(uid: str) -> Uid:
    try:
        number = int(uid.replace("-", ""), 16)
    except ValueError:
        return uid
    return number if unpacked(number) == uid else uid


def unpacked(kept: Uid) -> str:
    if isinstance(kept, str):
        return kept
    digits = f"{kept:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def node_of(resource: ResourceType, namespace: str, name: str, kept: Node | Uid) -> Node:
    """Return a node as it is kept, or of a uid."""
    if isinstance(kept, Node):
        return kept
    return Node(resource, {"name": name, "namespace": namespace, "uid": unpacked(kept)})


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


class Nodes(Reflector):
    """The nodes of a resource whose objects nobody keeps."""

    partial = True

    def __init__(self, client: Client, resource: ResourceType, graph: Graph) -> None:
        super().__init__(client, resource)
        self.graph = graph

    def replace(self, objects: Iterable[Object]) -> None:
        before = {node.uid: node for node in self.graph.nodes_of(self.resource)}
        for obj in objects:
            before.pop(obj["metadata"]["uid"], None)
            self.take(obj)
        for node in before.values():
            if self.graph.has(node):  # not replaced by one of its name
                self.forget(node.object())

    def take(self, obj: Object) -> None:
        known = self.graph.node(self.resource, obj["metadata"])
        if known is not None and known.revision == obj["metadata"].get("resourceVersion"):
            return
        old = known.object() if known is not None else None
        if old is not None and old["metadata"]["uid"] != obj["metadata"]["uid"]:
            self.forget(old)  # deleted and made anew while nobody looked
            old = None
        self.graph.take(self.resource, "ADDED" if old is None else "MODIFIED", old, obj)

    def forget(self, last: Object) -> None:
        known = self.graph.node(self.resource, last["metadata"])
        if known is not None:
            self.graph.take(self.resource, "DELETED", known.object(), last)


class Graph:
    """All objects but Events. ``informer_of`` returns the informer of a resource that is followed whole, None where nobody
    needs more than nodes; ``drop`` ends it; ``spawn`` runs what is ours."""

    name = "graph"
    user = "generic-garbage-collector"

    def __init__(
        self,
        client: Client,
        informer_of: Callable[[ResourceType], Informer | None],
        drop: Callable[[ResourceType], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        definitions: Informer,
        services: Informer,
    ) -> None:
        self._client = client
        self._informer_of, self._drop, self._spawn = informer_of, drop, spawn
        self._listeners: list[Listener] = []
        self._discovery_listeners: list[Callable[[], None]] = []
        self.undiscovered: dict[str, str] = {}
        self.unparsed = ""
        """What discovery could not tell (``Discovered``)."""
        self._followed: dict[ResourceType, Reflector] = {}
        self._tasks: dict[ResourceType, asyncio.Task[None]] = {}
        self._nodes: dict[ResourceType, dict[str, dict[str, Node | Uid]]] = {}
        """By namespace and name; the uid alone of an object of which nothing else is worth keeping."""
        self._by_uid: dict[str, Node] = {}
        self._dependents: dict[str, dict[str, Node]] = {}
        """Of an owner's uid, by their own."""
        self._changed = asyncio.Event()
        self._changed.set()
        self._all_listed = asyncio.Event()
        definitions.add_handler(lambda change, old, new: self._changed.set())
        services.add_handler(self._api_service)

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def on_discovery(self, listener: Callable[[], None]) -> None:
        """Call a listener whenever discovery was read."""
        self._discovery_listeners.append(listener)

    async def synced(self) -> None:
        """Return when every resource has been listed once."""
        await self._all_listed.wait()

    @property
    def resources(self) -> list[ResourceType]:
        return list(self._followed)

    def kind(self, api_version: str, kind: str) -> ResourceType | None:
        """Return the resource of a kind, in any version of its group."""
        group, _ = split_api_version(api_version)
        return next((r for r in self._followed if r.group == group and r.kind == kind), None)

    def object_with(self, uid: str) -> tuple[ResourceType, Object] | None:
        """Return an object that has owners, is held or deleted, or that somebody follows whole."""
        node = self._by_uid.get(uid)
        return (node.resource, self._object(node)) if node is not None else None

    def dependents(self, uid: str) -> Iterator[tuple[ResourceType, Object]]:
        for node in self._dependents.get(uid, {}).values():
            yield node.resource, self._object(node)

    def named(self, resource: ResourceType, name: str, namespace: str | None) -> Object | None:
        """Return the object of a name."""
        node = self.node(resource, {"name": name, "namespace": namespace})
        return self._object(node) if node is not None else None

    def in_namespace(self, namespace: str) -> Iterator[tuple[ResourceType, Object]]:
        for resource, nodes in self._nodes.items():
            if resource.namespaced:
                for name, kept in nodes.get(namespace, {}).items():
                    yield resource, self._object(node_of(resource, namespace, name, kept))

    def node(self, resource: ResourceType, metadata: Object) -> Node | None:
        """Return what is known of the object that has this name."""
        namespace = metadata.get("namespace") or ""
        kept = self._nodes.get(resource, {}).get(namespace, {}).get(metadata["name"])
        return node_of(resource, namespace, metadata["name"], kept) if kept is not None else None

    def has(self, node: Node) -> bool:
        """Whether that very object is there."""
        kept = self._nodes.get(node.resource, {}).get(node.namespace, {}).get(node.name)
        return kept is not None and (kept.uid if isinstance(kept, Node) else unpacked(kept)) == node.uid

    def nodes_of(self, resource: ResourceType) -> list[Node]:
        return [
            node_of(resource, namespace, name, kept)
            for namespace, named in self._nodes.get(resource, {}).items()
            for name, kept in named.items()
        ]

    def _object(self, node: Node) -> Object:
        """Return the whole object where somebody has it, else what is known of it."""
        informer = self._followed.get(node.resource)
        if isinstance(informer, Informer):
            found = informer.get(f"{node.namespace}/{node.name}" if node.namespace else node.name)
            if found is not None:
                return found
        return node.object()

    # what changes

    def take(self, resource: ResourceType, change: Change, old: Object | None, new: Object) -> None:
        """Take in a change of an object, and tell the listeners."""
        if resource not in self._followed:
            return  # a last word of a resource that has gone
        known = self.node(resource, new["metadata"])
        if known is not None:
            self._leave(known)
        if change != "DELETED":
            self._enter(Node(resource, new["metadata"]))
        for listener in self._listeners:
            listener(resource, change, old, new)

    def _enter(self, node: Node) -> None:
        named = self._nodes.setdefault(node.resource, {}).setdefault(node.namespace, {})
        if node.rest is None and isinstance(self._followed.get(node.resource), Nodes):
            named[node.name] = packed(node.uid)
            return
        named[node.name] = node
        self._by_uid[node.uid] = node
        for owner in node.owners:
            self._dependents.setdefault(owner, {})[node.uid] = node

    def _leave(self, node: Node) -> None:
        named = self._nodes[node.resource]
        del named[node.namespace][node.name]
        if not named[node.namespace]:
            del named[node.namespace]
        self._by_uid.pop(node.uid, None)
        for owner in node.owners:
            siblings = self._dependents.get(owner, {})
            siblings.pop(node.uid, None)
            if not siblings:
                self._dependents.pop(owner, None)

    def _api_service(self, change: Change, old: Object | None, new: Object) -> None:
        """An extension server came, went, or answers again: what it serves is in discovery, or no longer."""
        if new["spec"].get("service") is not None:
            self._changed.set()

    # what is followed

    async def run(self) -> None:
        """Follow discovery until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            there, self.undiscovered, self.unparsed = await discover(self._client)
            for resource in [resource for resource in self._followed if resource not in there]:
                self._unfollow(resource)
            for resource in [resource for resource in there if resource not in self._followed]:
                self._follow(resource)
            if not self._all_listed.is_set():
                await self._first_lists()
            for tell in self._discovery_listeners:
                tell()

    async def _first_lists(self) -> None:
        """Wait for every list, but not for that of a resource that goes away meanwhile: discovery is read again then."""
        async with asyncio.TaskGroup() as group:
            changed = group.create_task(self._changed.wait())
            for followed in self._followed.values():
                listed = group.create_task(followed.synced())
                await asyncio.wait({listed, changed}, return_when=asyncio.FIRST_COMPLETED)
                listed.cancel()
                if changed.done():
                    return
            changed.cancel()
        self._all_listed.set()

    def _follow(self, resource: ResourceType) -> None:
        informer = self._informer_of(resource)
        if informer is not None:
            self._followed[resource] = informer
            informer.add_handler(lambda change, old, new: self.take(resource, change, old, new))
        else:
            nodes = self._followed[resource] = Nodes(self._client, resource, self)
            self._tasks[resource] = self._spawn(nodes.run())

    def _unfollow(self, resource: ResourceType) -> None:
        del self._followed[resource]
        task = self._tasks.pop(resource, None)
        if task is not None:
            task.cancel()
        else:
            self._drop(resource)
        for node in self.nodes_of(resource):
            self._leave(node)
        self._nodes.pop(resource, None)
