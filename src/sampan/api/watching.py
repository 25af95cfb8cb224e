"""WATCH: the store's events as frames, one JSON object a line.

A frame is built once for an event and shared by all who watch it without conversion. With selectors an object that
begins to match is ADDED and one that ceases to is DELETED. The start is the past after a resourceVersion, or the
present state as ADDED events (KEP-3157 marks its end with a bookmark). What the store has forgotten is an ERROR event
410.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import orjson

from sampan.api.catalog import Served
from sampan.api.encodings import Coder
from sampan.api.errors import StatusError
from sampan.api.list_options import WatchOptions, too_large, watch_options
from sampan.api.listing import Selection, candidates, selection
from sampan.api.negotiation import JSON
from sampan.api.remembered import Remembered
from sampan.api.request import Receive, Request, Scope, Send
from sampan.api.turns import in_turns
from sampan.store import Compacted, Concern, Event, Record, StoreError, Watch, restamped

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.stored_versions import Source

BOOKMARK_SECONDS = 60.0
EARLY_SECONDS = 0.005
"""How much before its time a timer may fire."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
FRAMES, FRAMES_BYTES = 4096, 4 << 20
"""How many of the newest frames are kept, and how large they may be together."""


PORTION_EVENTS, PORTION_BYTES = 256, 256 * 1024
"""How much of a long batch (the state at the start, the past) is made and sent at a time."""


class Change(NamedTuple):
    """What a watcher is told. ``value`` is the object's stored bytes; ``revision`` where a watch would go on after it;
    ``record`` is shared by all watchers (None where the bytes were made for this one)."""

    type: str
    value: bytes
    revision: int
    record: Record | None = None


async def changes(
    api: Api, served: Served, namespace: str, chosen: Selection, options: WatchOptions
) -> AsyncIterator[list[Change]]:
    """Yield batches of changes until the timeout. Raises ``StatusError`` 410 when history is gone."""
    prefix = served.prefix(namespace)
    if chosen.name and (namespace or not served.resource.namespaced):
        prefix += chosen.name
    since = options.since
    if options.not_older_than > api.store.revision:
        raise too_large(options.not_older_than, api.store.revision)
    if options.initial:
        page = await candidates(api, chosen, served.prefix(namespace), "", 0)
        records = list(page.records)
        if chosen:
            records = list(compress(records, await in_turns(lambda one: chosen.matches(api.parsed(one)), records)))
        since = page.revision
        if records:
            yield [Change("ADDED", record.value, record.revision, record) for record in records]
        if options.mark_end:
            yield [Change("BOOKMARK", INITIAL_EVENTS_END.encode(), since)]
    try:
        watch = watch_of(api, served, prefix, since, chosen)
    except Compacted as error:
        raise StatusError(410, "Expired", f"too old resource version: {error.asked} ({error.oldest})") from None
    served.watches.add(watch)
    try:
        async for batch in _follow(api, watch, chosen, options):
            yield batch
    finally:
        served.watches.discard(watch)
        watch.close()


def watch_of(api: Api, served: Served, prefix: str, since: int, chosen: Selection) -> Watch:
    """Return the store's watch for a selection: one that asks for a field's value gets only events of objects that have or
    had it, found once for all such watches. Raises ``Compacted``."""
    if served.view is not None:
        source: Source = served.view
        return source.watch(prefix, since=since)
    return api.store.watch(prefix, since=since, concern=concern_of(api, served, chosen))


def concern_of(api: Api, served: Served, chosen: Selection) -> Concern | None:
    for field, operator, value in chosen.fields.terms if chosen.fields else ():
        if operator == "=" and field not in ("metadata.name", "metadata.namespace"):
            return Concern(*field_values(api, served, field), value)
    return None


def field_values(api: Api, served: Served, field: str) -> tuple[str, Callable[[Event], set[str]]]:
    """Return a name for a field of a resource, and what tells the values that an event's object has and had there."""
    get = served.resource.field_selectors[field]

    def values(event: Event) -> set[str]:
        found = {get(api.parsed(event.record))}
        return found if event.previous is None else found | {get(api.parsed(event.previous))}

    return f"{field} {id(get)}", values


async def _follow(api: Api, watch: Watch, chosen: Selection, options: WatchOptions) -> AsyncIterator[list[Change]]:
    loop = asyncio.get_running_loop()
    end = loop.time() + options.timeout_seconds
    stream = aiter(watch)
    # one timer until something is due, not one an event
    due = min(loop.time() + BOOKMARK_SECONDS, end) if options.bookmarks else end
    timer = loop.call_at(due, watch.nudge)
    try:
        while True:
            try:
                events = await anext(stream)
            except StopAsyncIteration:
                return
            except StoreError as error:
                raise StatusError(410, "Expired", f"too old resource version: {error}") from None
            if events:
                batch = [change_of(event) for event in events] if not chosen else select(api, chosen, events)
                if batch:
                    yield batch
                if loop.time() < due - EARLY_SECONDS:
                    continue
            if options.bookmarks:
                yield [Change("BOOKMARK", b"", api.store.revision)]
            if due >= end:
                return
            due = min(loop.time() + BOOKMARK_SECONDS, end)
            timer = loop.call_at(due, watch.nudge)
    finally:
        timer.cancel()


def change_of(event: Event) -> Change:
    kind = "DELETED" if event.deleted else "MODIFIED" if event.previous else "ADDED"
    return Change(kind, event.record.value, event.record.revision, event.record)


def select(api: Api, chosen: Selection, events: list[Event]) -> list[Change]:
    """Return the events as someone sees them who only sees what matches."""
    batch = []
    for event in events:
        record, previous = event.record, event.previous
        before = previous is not None and chosen.matches(api.parsed(previous))
        after = not event.deleted and chosen.matches(api.parsed(record))
        if after:
            batch.append(Change("MODIFIED" if before else "ADDED", record.value, record.revision, record))
        elif before and event.deleted:
            batch.append(Change("DELETED", record.value, record.revision, record))
        elif before and previous is not None:
            batch.append(Change("DELETED", restamped(previous, record.revision), record.revision))
    return batch


class Frames:
    """The frames of recent events, each built once."""

    def __init__(self, newest: Callable[[], int]) -> None:
        self._newest = newest
        self._frames: Remembered[tuple[str, int, str, str], bytes] = Remembered(FRAMES_BYTES)

    def frame(self, change: Change, coder: Coder) -> bytes:
        """Return the frame of a change as a coder writes it."""
        if change.record is None:
            return coder.frame(change.type, change.value)
        # the key, too: the writes of one transaction may share a revision
        key = (change.type, change.revision, change.record.key, coder.media)
        frame = self._frames.get(key)
        if frame is None:
            frame = coder.frame(change.type, change.value)
            if change.revision > self._newest() - FRAMES:
                self._frames.put(key, frame, len(frame))
        return frame


def bookmark_object(served: Served, change: Change) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(change.revision), "creationTimestamp": None}
    if change.value:
        metadata["annotations"] = {change.value.decode(): "true"}
    resource = served.resource
    return orjson.dumps({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})


class WatchStream:
    """A watch as the answer to a request: an ASGI application for http, and for websocket (one message an event)."""

    def __init__(
        self,
        api: Api,
        request: Request,
        served: Served,
        namespace: str,
        transform: Callable[[bytes], bytes] | None,
        coder: Coder,
    ) -> None:
        self.options = watch_options(request)
        self.chosen = selection(request, served)
        self._api, self._served, self._namespace = api, served, namespace
        self._transform, self._coder = transform, coder
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        """What is sent beside the headers of every watch."""

    async def frames(self) -> AsyncIterator[list[bytes]]:
        """Yield the frames of each batch, those of a long one in portions; errors are the last frame."""
        batches = changes(self._api, self._served, self._namespace, self.chosen, self.options)
        sent, resource = self._api.metrics.watch_events, self._served.resource
        kind = (resource.group, resource.version, resource.kind)
        measured, sized = self._api.measured, (resource.group, resource.version, resource.plural)
        try:
            async for batch in batches:
                sent[kind] = sent.get(kind, 0) + len(batch)
                frames: list[bytes] = []
                portion = 0
                for change in batch:
                    if portion > PORTION_BYTES or len(frames) >= PORTION_EVENTS:
                        yield frames
                        await asyncio.sleep(0)  # others have their turn, and the client reads
                        frames, portion = [], 0
                    frame = self._frame(change)
                    portion += len(frame)
                    frames.append(frame)
                    if measured.watched:
                        measured.observe("apiserver_watch_events_sizes", len(frame), *sized)
                yield frames
        except StatusError as error:
            yield [self._coder.frame("ERROR", orjson.dumps(error.status()))]
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

    def _frame(self, change: Change) -> bytes:
        coder, transform = self._coder, self._transform
        if change.type == "BOOKMARK":
            value = bookmark_object(self._served, change)
        elif self._served.view is not None and transform is None:
            value = change.value
        elif transform is None and not self._served.converts:
            return self._api.frames.frame(change, coder)
        else:
            value = self._api.registry.served_bytes(self._served, change.value)
        return coder.frame(change.type, transform(value) if transform else value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = scope["type"] == "websocket"
        if websocket:
            await receive()
            await send({"type": "websocket.accept"})
        else:
            headers = [(b"content-type", self._coder.content_type.encode()), (b"cache-control", b"no-cache, private")]
            headers += self.headers
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        sender = asyncio.current_task()
        assert sender is not None
        watcher = asyncio.create_task(self._cancel_on_disconnect(receive, sender), name="watch-disconnect")
        gone = False
        try:
            async for frames in self.frames():
                if websocket:
                    for frame in frames:
                        await send({"type": "websocket.send", **self._message(frame)})
                else:
                    await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})
        except asyncio.CancelledError:
            gone = watcher.done()
            if not gone:
                raise
            sender.uncancel()
        finally:
            watcher.cancel()
        if not gone and websocket:
            await send({"type": "websocket.close", "code": 1000})
        elif not gone:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _message(self, frame: bytes) -> dict[str, str | bytes]:
        return {"text": frame.decode()} if self._coder.media == JSON else {"bytes": frame}

    async def _cancel_on_disconnect(self, receive: Receive, sender: asyncio.Task[object]) -> None:
        """Stop the stream when its client goes: nothing is sent while nothing happens, so only reading tells."""
        while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass
        sender.cancel()
