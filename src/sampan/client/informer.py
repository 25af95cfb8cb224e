"""A live copy of a resource: LIST once, WATCH from there, list again only when the server has forgotten where we were.

Flow: ``run`` (a task of the caller's group) keeps ``objects`` up to date and calls the handlers in the order of events.
After ``await synced()`` the copy is whole. A broken connection is resumed at the last revision seen, so that nothing is
missed; a 410 lists anew and hands the handlers the difference. Objects are shared: copy before changing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Literal

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType, WatchEvent
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.client")

Change = Literal["ADDED", "MODIFIED", "DELETED"]
Handler = Callable[[Change, "Object | None", Object], None]
"""``(change, old, new)``: old is None for ADDED; new is the last state for DELETED."""
IndexFunction = Callable[[Object], Iterable[str]]
Keep = Callable[[Object], Object]
"""What of an object is kept and told (client-go's SetTransform): at least its name, namespace, uid and resourceVersion. Of
what is kept it keeps all."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
NO_STREAM = (400, 403, 422)
"""What servers answer that do not serve lists as streams."""
STREAM_SECONDS = 10.0
"""How long a server may be silent within a list."""
BACKOFF_SECONDS = (0.05, 2.0)
"""First and longest pause between attempts to reach the server."""


def key_of(obj: Object) -> str:
    """Return ``namespace/name``, or ``name`` for objects without a namespace."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split_key(key: str) -> tuple[str | None, str]:
    """Return ``(namespace, name)`` of a key; the namespace is None where there is none."""
    namespace, slash, name = key.rpartition("/")
    return (namespace if slash else None), name


class Informer:
    """A copy of one resource, optionally of one namespace and of what selectors choose."""

    def __init__(
        self,
        client: Client,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        keep: Keep | None = None,
    ) -> None:
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self._keep = keep
        self.label_selector = label_selector
        self.field_selector = field_selector
        self.objects: dict[str, Object] = {}
        self._handlers: list[Handler] = []
        self._index_functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {}
        self._synced = asyncio.Event()
        self._revision = ""
        self._heard = False
        self._streams = client.streams_lists

    # reading

    def get(self, key: str) -> Object | None:
        return self.objects.get(key)

    def all(self) -> list[Object]:
        return list(self.objects.values())

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return the objects that the index's function gave ``value`` for."""
        return list(self._indexes[index].get(value, {}).values())

    async def synced(self) -> None:
        """Return when the first list has been taken over."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    # setting up

    def add_handler(self, handler: Handler) -> None:
        """Call ``handler`` for every change from now on, and ADDED for what is already there."""
        self._handlers.append(handler)
        for obj in self.all():
            handler("ADDED", None, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep the objects findable by the values ``function`` returns for them."""
        if name in self._index_functions:
            return
        self._index_functions[name] = function
        self._indexes[name] = {}
        for key, obj in self.objects.items():
            self._enter(name, key, obj)

    # running

    async def run(self) -> None:
        """Keep the copy until cancelled."""
        pause, told = BACKOFF_SECONDS[0], ""
        while True:
            self._heard = False
            problem = ""
            try:
                if not self._revision and self._streams:
                    await self._stream()
                else:
                    if not self._revision:
                        await self._list()
                    await self._follow(self._watch())
            except ApiError as error:
                if error.code in NO_STREAM and not self._revision and self._streams:
                    self._streams = False  # an older server
                    continue
                if error.is_expired:
                    self._revision = ""
                else:
                    problem = str(error)
            except OSError as error:
                problem = f"{type(error).__name__}: {error}"
            if self._heard:
                pause, told = BACKOFF_SECONDS[0], ""
                if not problem:
                    continue
            # a server that ends the watch at once, without an event, is not asked again at once either
            if problem and problem != told:
                told = problem
                logger.warning("watch of %s: %s; trying again", self.resource.plural, problem)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, BACKOFF_SECONDS[1])

    async def _list(self) -> None:
        found = await self.client.list(
            self.resource, self.namespace, label_selector=self.label_selector, field_selector=self.field_selector
        )
        items, keep = found.items, self._keep
        self._replace({key_of(item): keep(item) if keep else item for item in items}, found.resource_version)

    def _replace(self, fresh: dict[str, Object], revision: str) -> None:
        """Take over a whole list: the handlers are told the difference."""
        self._revision = revision
        for key in [key for key in self.objects if key not in fresh]:
            self._forget(self.objects[key])
        for obj in fresh.values():
            self._take(obj)
        self._synced.set()

    def _watch(self, *, initial: bool = False) -> AsyncIterator[WatchEvent]:
        return self.client.watch(
            self.resource,
            self.namespace,
            resource_version="" if initial else self._revision,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            send_initial_events=initial,
        )

    async def _stream(self) -> None:
        """Read the list as events (WatchList), then follow the same stream. A server that does not know of it sends no end
        of the list: it is asked for a list then."""
        events = self._watch(initial=True)
        fresh: dict[str, Object] = {}
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(STREAM_SECONDS) as patience:
                async for event in events:
                    self._heard = True
                    patience.reschedule(clock() + STREAM_SECONDS)
                    metadata = event.object["metadata"]
                    if event.type == "DELETED":
                        fresh.pop(key_of(event.object), None)
                    elif event.type != "BOOKMARK":
                        fresh[key_of(event.object)] = self._keep(event.object) if self._keep else event.object
                    elif (metadata.get("annotations") or {}).get(INITIAL_EVENTS_END) == "true":
                        self._replace(fresh, metadata["resourceVersion"])
                        break
                else:
                    return  # it ended before the list did: once more
        except TimeoutError:
            self._streams = False
            return
        await self._follow(events)

    async def _follow(self, events: AsyncIterator[WatchEvent]) -> None:
        async for event in events:
            self._heard = True
            if event.type == "DELETED":
                self._forget(event.object)
            elif event.type != "BOOKMARK":
                self._take(event.object)
            self._revision = event.object["metadata"]["resourceVersion"]

    def _take(self, obj: Object) -> None:
        if self._keep is not None:
            obj = self._keep(obj)
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._forget(old)  # deleted and made anew while nobody looked
            old = None
        self.objects[key] = obj
        for name in self._index_functions:
            if old is not None:
                self._leave(name, key, old)
            self._enter(name, key, obj)
        self._tell("ADDED" if old is None else "MODIFIED", old, obj)

    def _forget(self, last: Object) -> None:
        key = key_of(last)
        old = self.objects.pop(key, None)
        if old is None:
            return
        for name in self._index_functions:
            self._leave(name, key, old)
        self._tell("DELETED", old, last)

    def _tell(self, change: Change, old: Object | None, new: Object) -> None:
        for handler in self._handlers:
            try:
                handler(change, old, new)
            except Exception:
                # one object that a handler cannot read must not end the copy that everybody shares
                logger.exception("%s %s: a handler failed", self.resource.plural, key_of(new))

    def _enter(self, index: str, key: str, obj: Object) -> None:
        for value in self._index_functions[index](obj):
            self._indexes[index].setdefault(value, {})[key] = obj

    def _leave(self, index: str, key: str, obj: Object) -> None:
        table = self._indexes[index]
        for value in self._index_functions[index](obj):
            bucket = table.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del table[value]
