"""Custom resources as one of their versions sees them, whatever version and schema they were stored under.

The store keeps the bytes of one version. A definition with several versions, or whose schema has changed, gets a view a
version: what was written under the present schema, in this version, passes as it is; anything else is pruned and given
its defaults by the schema it was stored with, converted, and pruned and defaulted again. What was converted is remembered
until the object changes. A definition with one version that never changed needs none of this, and has no view.
Source: apiextensions-apiserver pkg/apiserver/customresource_handler.go (crdConversionRESTOptionsGetter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import orjson

from sampan.api.conversion import Converter, failure
from sampan.api.remembered import Remembered
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.schema.types import Type
from sampan.store import Event, Page, Record, Watch, with_resource_version

if TYPE_CHECKING:
    from sampan.store import Store

REMEMBERED_BYTES = 8 << 20
"""Converted objects that are kept of one version."""


class Source(Protocol):
    """Where lists and watches of a resource come from: the store, or the view of a version."""

    async def page(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Page: ...

    def watch(self, prefix: str, *, since: int = 0) -> Watch: ...


class Converted(Record):
    """A record whose value was made for one version: never to be mixed up with the stored one."""

    __slots__ = ()


class Versions:
    """What all versions of a definition share. ``clean_since``: objects of later revisions were written under the present
    schemas."""

    def __init__(
        self, converter: Converter, storage: str, types: Mapping[str, Type], clean_since: int, complete: bool
    ) -> None:
        self.converter = converter
        self.storage = storage
        self.types = types
        self.clean_since = clean_since
        self.complete = complete
        """Whether every stored object is known to be of the storage version."""

    def view(self, store: Store, api_version: str) -> VersionView | None:
        """Return the view of a version, None where stored bytes are what it serves."""
        if len(self.types) == 1 and self.complete and not self.clean_since:
            return None
        return VersionView(store, self, api_version)


class VersionView:
    """One version's reading and writing of the store."""

    def __init__(self, store: Store, versions: Versions, api_version: str) -> None:
        self.store = store
        self.versions = versions
        self.api_version = api_version
        self._head = orjson.dumps({"apiVersion": api_version})[:-1] + b","
        self._known: Remembered[str, Record] = Remembered(REMEMBERED_BYTES)

    def current(self, record: Record) -> bool:
        """Whether the stored bytes are what this version serves."""
        return record.revision > self.versions.clean_since and record.value.startswith(self._head)

    async def record(self, record: Record) -> Record:
        if self.current(record):
            return record
        return (await self.records([record]))[0]

    async def records(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return records as this version serves them. Raises ``StatusError`` 500."""
        made = list(records)
        waiting: list[int] = []
        for index, record in enumerate(records):
            if not self.current(record):
                known = self._known.get(record.key)
                if known is not None and known.revision == record.revision:
                    made[index] = known
                else:
                    waiting.append(index)
        if waiting:
            found = await self._convert([orjson.loads(records[index].value) for index in waiting])
            for index, obj in zip(waiting, found, strict=True):
                made[index] = self._converted(records[index], obj)
        return made

    def _converted(self, record: Record, obj: Object) -> Record:
        """Return the record of a converted object, and remember it."""
        value = with_resource_version(dumps(obj), record.revision)
        converted = Converted(record.key, value, record.create_revision, record.revision)
        known = self._known.get(record.key)
        if known is None or known.revision < record.revision:
            self._known.put(record.key, converted, len(value))
        return converted

    async def _convert(self, objects: Sequence[Object]) -> list[Object]:
        by_version: dict[str, list[int]] = {}
        for index, obj in enumerate(objects):
            by_version.setdefault(obj["apiVersion"], []).append(index)
        made: list[Object] = list(objects)
        for version, places in by_version.items():
            converted = await self.convert([objects[place] for place in places], version, self.api_version)
            for place, obj in zip(places, converted, strict=True):
                made[place] = obj
        return made

    async def convert(
        self, objects: Sequence[Object], source: str, target: str, *, stored: bool = True
    ) -> list[Object]:
        """Return objects of one version in another, pruned and defaulted; ``stored``: they come from the store."""
        types = self.versions.types
        for version, word in ((source, "from"), (target, "to")):
            if version not in types:
                raise failure(f"request to convert CR {word} an invalid group/version: {version}")
        found = [self._coerced(obj, types[source]) for obj in objects] if stored else list(objects)
        if source != target:
            found = await self.versions.converter.convert(found, target)
            # what the converter returned may share parts with what it was given
            found = [self._coerced(orjson.loads(orjson.dumps(obj)), types[target]) for obj in found]
        return found

    def _coerced(self, obj: Object, type: Type) -> Object:
        checked = type.check(obj).object
        type.default(checked)
        return checked

    async def to_store(self, obj: Object) -> Object:
        """Return an object of this version as it is stored."""
        storage = self.versions.storage
        if storage == self.api_version:
            return obj
        return (await self.convert([obj], self.api_version, storage, stored=False))[0]

    # what the store offers, for this version

    async def page(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Page:
        page = await self.store.page(prefix, limit=limit, after=after, revision=revision)
        return page._replace(records=await self.records(page.records))

    def watch(self, prefix: str, *, since: int = 0) -> Watch:
        return ConvertedWatch(self, self.store.watch(prefix, since=since))


class ConvertedWatch:
    """A watch whose events are converted as they come."""

    def __init__(self, view: VersionView, watch: Watch) -> None:
        self._view, self._watch = view, watch
        self._stream = aiter(watch)
        self._taken: list[Event] = []
        """Events that are being converted: a reader that stops waiting meanwhile finds them when it comes again."""

    def __aiter__(self) -> ConvertedWatch:
        return self

    async def __anext__(self) -> list[Event]:
        if not self._taken:
            self._taken = await anext(self._stream)
        events = self._taken
        if not events:
            return events
        records = await self._view.records([event.record for event in events])
        before = [event.previous for event in events if event.previous is not None]
        known = dict(zip(map(id, before), await self._view.records(before), strict=True))
        self._taken = []
        return [
            event._replace(record=record, previous=known.get(id(event.previous)))
            for event, record in zip(events, records, strict=True)
        ]

    def nudge(self) -> None:
        self._watch.nudge()

    def close(self) -> None:
        self._watch.close()

    def finish(self) -> None:
        self._watch.finish()
