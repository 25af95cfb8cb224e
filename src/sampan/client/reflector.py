"""What a server has of a resource, told to whoever keeps it: LIST once, WATCH from there, list again only when the server has
forgotten where we were.

Flow: ``run`` (a task of the caller's group) calls ``replace`` with every whole list, then ``take`` and ``forget`` with what
changes. A broken connection is resumed at the last revision seen, so that nothing is missed; a 410 lists anew. What is kept,
and in which form, is the subclass's: an ``Informer`` keeps the objects, ``controllers.graph`` who owns them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType, WatchEvent
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.client")

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


class Reflector:
    """Follows one resource, optionally in one namespace and of what selectors choose. ``partial``: of each object only the
    metadata is asked for."""

    partial = False

    def __init__(
        self,
        client: Client,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self.label_selector = label_selector
        self.field_selector = field_selector
        self._synced = asyncio.Event()
        self._revision = ""
        self._heard = False
        self._streams = client.streams_lists

    # what a subclass keeps

    def replace(self, objects: Iterable[Object]) -> None:
        """Take over a whole list. The objects are read once."""
        raise NotImplementedError

    def take(self, obj: Object) -> None:
        """Take in what was added or changed."""
        raise NotImplementedError

    def forget(self, last: Object) -> None:
        """Let go of what was deleted; ``last`` is its last state."""
        raise NotImplementedError

    def reduced(self, obj: Object) -> Object:
        """Return what of an object is kept: ``replace`` and ``take`` are given this, of each object once."""
        return obj

    # whether it is whole

    async def synced(self) -> None:
        """Return when the first list has been taken over."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    # running

    async def run(self) -> None:
        """Follow until cancelled."""
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
            self.resource,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            partial=self.partial,
        )
        self._replace([self.reduced(obj) for obj in found.items], found.resource_version)

    def _replace(self, objects: Iterable[Object], revision: str) -> None:
        self._revision = revision
        self.replace(objects)
        self._synced.set()

    def _watch(self, *, initial: bool = False) -> AsyncIterator[WatchEvent]:
        return self.client.watch(
            self.resource,
            self.namespace,
            resource_version="" if initial else self._revision,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            send_initial_events=initial,
            partial=self.partial,
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
                        fresh[key_of(event.object)] = self.reduced(event.object)
                    elif (metadata.get("annotations") or {}).get(INITIAL_EVENTS_END) == "true":
                        self._replace(fresh.values(), metadata["resourceVersion"])
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
                self.forget(event.object)
            elif event.type != "BOOKMARK":
                self.take(self.reduced(event.object))
            self._revision = event.object["metadata"]["resourceVersion"]
