"""What every store must do: this file is the seam.

Keys are Kubernetes' own: ``/registry/<resource>/<namespace>/<name>`` (``layout.py``). A value is the canonical JSON of an
object without ``metadata.resourceVersion``; the store splices the revision in once, when the write is given its revision,
and ``Record.value`` is what clients are served.

Revisions are one rising counter for the whole store (etcd's and Kubernetes' model). A write is answered only when it
is durable, and seen by readers and watchers only then. Writes that arrive in one tick of the event loop are committed
in one transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from sampan.store.image import Image


class Record(NamedTuple):
    """One key as it is stored: ``value`` is the served JSON, resourceVersion included."""

    key: str
    value: bytes
    create_revision: int
    revision: int


class Event(NamedTuple):
    """One change. ``record`` is the new state; for a deletion ``deleted`` is true and ``record.value`` is the object
    as it was last seen, carrying the revision of its deletion. ``previous`` is the state before (None on create)."""

    record: Record
    previous: Record | None
    deleted: bool

    @property
    def revision(self) -> int:
        return self.record.revision


class Page(NamedTuple):
    """A slice of a list: records in key order, the revision they were read at, whether more follow, and how many."""

    records: Sequence[Record]
    revision: int
    more: bool
    remaining: int


class Put(NamedTuple):
    """One write. ``value=None`` deletes. ``expected`` is the revision the key must have: 0 means it must not exist,
    None means any. On a delete, ``value`` None and ``last`` may give the object's final bytes (without
    resourceVersion): the commit's own record carries them, and watchers see them where the database can keep them
    (SQLite; on etcd watchers see the stored ones, as Kubernetes' do). ``ttl_seconds``: the key is deleted after so long
    without another write (0: never)."""

    key: str
    value: bytes | None
    expected: int | None = None
    last: bytes | None = None
    ttl_seconds: int = 0


class StoreError(Exception):
    """The base of the store's errors."""


class NoSpace(StoreError):
    """The disk is full: nothing of the write is there, and it may be tried again."""


class TooLarge(StoreError):
    """The database takes no write of this size: nothing of it is there."""


class Unavailable(StoreError):
    """The database does not answer; nothing was written."""


class Unknown(StoreError):
    """The connection to the database broke after a write was sent: it may be there or not. Or it is there, and memory
    does not follow."""


class Conflict(StoreError):
    """A key was not at the expected revision; ``current`` is what it is now (None: it does not exist)."""

    def __init__(self, key: str, current: Record | None) -> None:
        super().__init__(f"{key} is at revision {current.revision if current else 0}")
        self.key = key
        self.current = current


class Compacted(StoreError):
    """The asked revision is older than the history kept; ``oldest`` is the first one still there."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} has been compacted, the oldest kept is {oldest}")
        self.asked = asked
        self.oldest = oldest


class FutureRevision(StoreError):
    """The asked revision is not there yet; ``current`` is the newest."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} is in the future, the newest is {current}")
        self.asked = asked
        self.current = current


class Concern(NamedTuple):
    """What a watcher is concerned with: events for which ``values`` returns ``value`` among others. ``values`` is asked once
    an event for all watchers of one ``name``, so that a thousand of them cost no more than one."""

    name: str
    values: Callable[[Event], Collection[str]]
    value: str


class Watch(Protocol):
    """A stream of events of one prefix, in revision order, in batches as they were committed.

    Iterating yields lists of events, an empty one only after ``nudge``. A watcher that falls too far behind is ended with
    ``StoreError`` and never waited for. ``close`` ends the iteration.
    """

    def __aiter__(self) -> AsyncIterator[list[Event]]: ...

    def nudge(self) -> None:
        """Let the reader look up: if nothing has come, what it waits for is an empty list."""

    def close(self) -> None: ...

    def finish(self) -> None:
        """End the iteration after what has come already."""


class Store(Protocol):
    """The whole of what the API asks of a database.

    ``get``, ``revision``, ``page`` and ``watch`` answer from memory. On a database that other servers write to
    (``shared``) memory follows by a watch; ``await fresh()`` before a read makes it as new as the database was then."""

    @property
    def shared(self) -> bool:
        """Whether other servers may write to the same database."""

    @property
    def revision(self) -> int:
        """The newest durable revision that is known here."""

    async def fresh(self) -> None:
        """Return when reads from memory see every write that was answered, by any server, before this call.
        Raises ``StoreError`` when the database does not answer."""

    def trouble(self) -> str | None:
        """Return why the database cannot be reached now; None: all is well."""

    def get(self, key: str) -> Record | None:
        """Return the newest durable state of a key."""

    async def page(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Page:
        """Return the records under ``prefix`` with keys greater than ``after``, at most ``limit`` (0: all), as they
        were at ``revision`` (0: newest). Raises ``Compacted`` and ``FutureRevision``."""

    async def commit(self, puts: Sequence[Put]) -> list[Record]:
        """Write all or nothing; return when durable, with the new records in order (a deletion's record carries the
        deletion's revision). Raises ``Conflict``, and ``StoreError`` when the disk refuses."""

    def watch(self, prefix: str, *, since: int = 0, concern: Concern | None = None) -> Watch:
        """Return the events under ``prefix`` with revisions greater than ``since`` (0: from now on). With a ``concern``
        those that do not concern the watcher may be left out. Raises ``Compacted``."""

    def image(self) -> Image:
        """Return the newest state, frozen."""

    def history(self, key: str) -> list[Event]:
        """Return the changes of a key that are still known, oldest first."""

    def time_of(self, revision: int) -> float | None:
        """Return when a revision was written, in seconds since the epoch, to about a second; None where it is not known."""

    async def compact(self, revision: int) -> None:
        """Forget history before ``revision``; the newest state of every key stays."""

    async def close(self) -> None:
        """Finish the writes under way and release the database."""


def with_resource_version(value: bytes, revision: int) -> bytes:
    """Return the served bytes of a stored value: ``metadata.resourceVersion`` spliced in as the first key of metadata.

    The canonical form guarantees that the first ``"metadata":{`` is the object's own."""
    return value.replace(b'"metadata":{', b'"metadata":{"resourceVersion":"%d",' % revision, 1)


def without_resource_version(record: Record) -> bytes:
    """Return the bytes of a record as they were before ``with_resource_version``."""
    return record.value.replace(b'"metadata":{"resourceVersion":"%d",' % record.revision, b'"metadata":{', 1)


def restamped(record: Record, revision: int) -> bytes:
    """Return a record's bytes with another revision."""
    return record.value.replace(
        b'"metadata":{"resourceVersion":"%d"' % record.revision, b'"metadata":{"resourceVersion":"%d"' % revision, 1
    )
