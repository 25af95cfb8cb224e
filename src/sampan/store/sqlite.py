"""The embedded store: every revision in one SQLite file, the newest state in memory, one fsync for many writes.

How a write flows: ``commit`` judges it at once against what is stored and what is already on its way, gives it its
revision and splices the revision into the bytes. Writes of one tick of the loop, and those that arrive while the disk
is busy, form a group, and one group is written at a time: the loop puts it into SQLite's log and the kernel syncs that while
the loop goes on (a thread of the store's own does both for large groups, and where the kernel cannot). When the group is on
disk it becomes visible: state, watchers, then the waiting writers, in revision order.
A conflict with a write that is still on its way waits for that write's fate, so nobody is told about a state that may
never be. A group that the disk refuses fails its writers, and those later writes that were judged on its outcome.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sampan.store.database import Database, Durability, Row
from sampan.store.encryption import Encryption
from sampan.store.expiries import Expiries, Expiry
from sampan.store.history import History
from sampan.store.image import Image
from sampan.store.kernel_sync import NotTaken
from sampan.store.memory import NoDatabase
from sampan.store.protocol import (
    Concern,
    Conflict,
    Event,
    Page,
    Put,
    Record,
    StoreError,
    restamped,
    with_resource_version,
)
from sampan.store.retention import Limits, Retention
from sampan.store.watchers import PrefixWatch, Watchers

logger = logging.getLogger("sampan.store")

EXPIRED_AT_ONCE = 256
LARGE_BYTES = 256 * 1024
"""Groups larger than this are written by the thread: copying them would hold up the loop."""

T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """One ``commit`` on its way: the events it will be, who waits, and what is to go later by itself."""

    events: list[Event]
    done: asyncio.Future[list[Record]]
    expiries: list[Expiry] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """Transactions that will be committed together."""

    transactions: list[Transaction] = field(default_factory=list)


class SqliteStore:
    """``Store`` on one SQLite file (``path=None``: in memory only). Opening it blocks and needs no event loop.

    ``durability="process"`` commits on the loop and does not wait for the disk: for tests. A store in memory may begin
    with an ``image`` of another."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        durability: Durability = "disk",
        image: Image | None = None,
        limits: Limits | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        self._database = Database(path, durability, encryption) if path else NoDatabase()
        self._history = History()
        self._watchers = Watchers()
        self._expiries = Expiries()
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._expiring: asyncio.Task[None] | None = None
        if image is None:
            try:
                if encryption:
                    self._database.reseal()
                self._load()
            except BaseException:
                self._database.close()  # and with it the lock of the file
                raise
        else:
            assert path is None, "a file has its own beginning"
            self._history.begin(image)
        self._next = self._history.revision + 1
        # newest state of keys whose writes are on their way (None: deleted), with the transaction that decides it
        self._pending: dict[str, tuple[Record | None, Transaction]] = {}
        self._gathering = Group()
        self._committing: asyncio.Task[None] | None = None
        self._inline = durability == "process" or path is None
        self._thread = ThreadPoolExecutor(1, "sampan-store")
        self._in_thread = 0
        """Calls that the thread has not answered: nobody else may use the database until then."""
        self._retention = Retention(limits or Limits(), time.monotonic(), self._history.revision)
        self._closed = False

    def _load(self) -> None:
        newest: dict[str, Record] = {}
        events: list[Event] = []
        compacted = self._database.meta("compacted")
        for row in self._database.rows():
            record = Record(row.key, row.value, row.create_revision, row.revision)
            events.append(Event(record, newest.get(row.key), row.deleted))
            if row.deleted:
                newest.pop(row.key, None)
            else:
                newest[row.key] = record
        self._history.load(events, compacted, self._database.meta("revision"))
        self._history.marks = self._database.marks()
        expiries = self._database.expiries()
        for record in newest.values() if expiries else ():
            if (at := expiries.get(record.revision)) is not None:
                self._expiries.add(Expiry(at, record.revision, record.key))

    def image(self) -> Image:
        """Return the durable state, frozen: what forks begin with."""
        return self._history.image()

    def fork(self) -> SqliteStore:
        """Return a store in memory that begins with the durable state of this one; from then on they are two."""
        return SqliteStore(image=self.image())

    # reads

    @property
    def shared(self) -> bool:
        return False

    async def fresh(self) -> None:
        """Memory is what is durable: nobody else writes the file."""

    def trouble(self) -> str | None:
        return None

    @property
    def revision(self) -> int:
        return self._history.revision

    @property
    def compacted(self) -> int:
        """The oldest revision that lists and watches can still begin at."""
        return self._history.compacted

    def get(self, key: str) -> Record | None:
        return self._history.records.get(key)

    def history(self, key: str) -> list[Event]:
        return self._history.of(key)

    def time_of(self, revision: int) -> float | None:
        return self._history.time_of(revision)

    async def page(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Page:
        return self._history.page(prefix, limit, after, revision)

    def watch(self, prefix: str, *, since: int = 0, concern: Concern | None = None) -> PrefixWatch:
        if self._closed:
            raise StoreError("the store is closed")
        if self._expiry_timer is None:
            self._await_expiry()
        past = self._history.since(since, prefix) if since else []
        return self._watchers.add(prefix, since or self.revision, past, concern)

    # writes

    async def commit(self, puts: Sequence[Put]) -> list[Record]:
        while True:
            if self._closed:
                raise StoreError("the store is closed")
            blocker = self._blocker(puts)
            if blocker is None:
                break
            await asyncio.wait([blocker.done])
        transaction = Transaction([], asyncio.get_running_loop().create_future())
        for put in puts:
            self._write(put, transaction)
        if not transaction.events:
            return []
        self._gathering.transactions.append(transaction)
        if self._committing is None:
            self._committing = asyncio.get_running_loop().create_task(self._commit_groups(), name="store-commit")
        return await transaction.done

    def _blocker(self, puts: Sequence[Put]) -> Transaction | None:
        """Return the transaction on its way that the puts conflict with. Raises ``Conflict`` with durable states."""
        for put in puts:
            pending = self._pending.get(put.key)
            if put.expected is None:
                if put.value is None and pending is not None and pending[0] is None:
                    return pending[1]  # there is nothing to delete, but nobody may be told before that is durable
                continue
            current = pending[0] if pending else self._history.records.get(put.key)
            if put.expected != (current.revision if current else 0):
                durable = self._history.records.get(put.key)
                if pending is None or (durable is not None and 0 < put.expected < durable.revision):
                    raise Conflict(put.key, durable)  # whatever becomes of what is on its way
                return pending[1]
        return None

    def _write(self, put: Put, transaction: Transaction) -> None:
        pending = self._pending.get(put.key)
        previous = pending[0] if pending else self._history.records.get(put.key)
        revision = self._next
        if put.value is not None:
            value = with_resource_version(put.value, revision)
            record = Record(put.key, value, previous.create_revision if previous else revision, revision)
            event = Event(record, previous, False)
        elif previous is None:
            return
        else:
            value = with_resource_version(put.last, revision) if put.last else restamped(previous, revision)
            event = Event(Record(put.key, value, previous.create_revision, revision), previous, True)
        if put.ttl_seconds and not event.deleted:
            transaction.expiries.append(Expiry(time.time() + put.ttl_seconds, revision, put.key))
        self._next += 1
        self._pending[put.key] = (None if event.deleted else event.record, transaction)
        transaction.events.append(event)

    async def _commit_groups(self) -> None:
        """Commit one group after the other until nothing waits. Starts a tick later, so that a tick's writes gather."""
        try:
            while self._gathering.transactions:
                group, self._gathering = self._gathering, Group()
                events = [event for transaction in group.transactions for event in transaction.events]
                rows = [row_of(event) for event in events]
                expiries = [expiry for transaction in group.transactions for expiry in transaction.expiries]
                try:
                    await self._append(rows, expiries)
                except StoreError as error:
                    logger.error("%s", error)
                    self._fail(group, error)
                except Exception as error:
                    logger.exception("a commit failed")
                    self._fail(group, StoreError(repr(error)))
                else:
                    self._publish(group, events)
                    if expiries:
                        for expiry in expiries:
                            self._expiries.add(expiry)
                        self._await_expiry()
                    try:
                        await self._compact_when_due()
                        await self._checkpoint_when_due()
                    except StoreError as error:
                        logger.error("compaction: %s", error)
        finally:
            self._committing = None

    async def _append(self, rows: list[Row], expiries: list[Expiry]) -> None:
        """Write a group. Raises ``StoreError``, and then nothing of it is there."""
        database = self._database
        if self._inline:
            database.append(rows, expiries)
            return
        small = sum(len(row.value) for row in rows) <= LARGE_BYTES
        sync = database.kernel_sync() if small and not self._in_thread else None
        if sync is None:
            await self._by_thread(database.append, rows, expiries)
            return
        database.insert(rows, expiries)
        try:
            await sync.sync()
        except NotTaken as refused:
            logger.warning("%s is synced by a thread from now on: %s", database.name, refused)
            database.without_kernel()
            await self._by_thread(database.sync, rows)
        except OSError as error:
            raise await self._by_thread(database.unsynced, rows, error) from error

    async def _by_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        self._in_thread += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
        finally:
            self._in_thread -= 1

    def _publish(self, group: Group, events: list[Event]) -> None:
        self._history.apply(events)
        for transaction in group.transactions:
            for event in transaction.events:
                key = event.record.key
                pending = self._pending.get(key)  # none for the second write of a key in a transaction
                if pending is not None and pending[1] is transaction:
                    del self._pending[key]
        self._watchers.publish(events)
        for transaction in group.transactions:
            if not transaction.done.done():
                transaction.done.set_result([event.record for event in transaction.events])

    def _fail(self, group: Group, error: StoreError) -> None:
        """Fail a group, and the gathering transactions that were judged on what it would have written."""
        lost: set[str] = set()
        kept: list[Transaction] = []
        failed = list(group.transactions)
        for transaction in failed:
            lost.update(event.record.key for event in transaction.events)
        for transaction in self._gathering.transactions:
            keys = {event.record.key for event in transaction.events}
            if keys & lost:
                lost |= keys
                failed.append(transaction)
            else:
                kept.append(transaction)
        self._gathering.transactions = kept
        for key in lost:
            self._pending.pop(key, None)
        for transaction in failed:
            if not transaction.done.done():
                transaction.done.set_exception(type(error)(*error.args))

    # what goes by itself

    def _await_expiry(self) -> None:
        """Have the loop call when the next key is due."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        at = self._expiries.next()
        if at is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._expiry_timer = loop.call_later(max(at - time.time(), 0.0), self._expire)

    def _expire(self) -> None:
        self._expiry_timer = None
        if self._expiring is None:
            self._expiring = asyncio.get_running_loop().create_task(self._delete_expired(), name="store-expire")

    async def _delete_expired(self) -> None:
        try:
            while expired := self._expiries.due(time.time(), EXPIRED_AT_ONCE):
                deletions = [self.commit([Put(key, None, expected=revision)]) for _, revision, key in expired]
                for failure in await asyncio.gather(*deletions, return_exceptions=True):
                    if isinstance(failure, Exception) and not isinstance(failure, Conflict):
                        logger.error("an expired key stays until the next start: %s", failure)
        finally:
            self._expiring = None
            self._await_expiry()

    # compaction

    async def compact(self, revision: int) -> None:
        revision = min(revision, self.revision)
        before = self._history.compacted
        if revision <= before:
            return
        if self._inline:
            self._database.compact(revision, before)
        else:
            await self._by_thread(self._database.compact, revision, before)
        self._history.forget(revision)
        self._watchers.end_behind(revision)

    async def _compact_when_due(self) -> None:
        if target := self._retention.target(time.monotonic(), self._history):
            await self.compact(target)

    async def _checkpoint_when_due(self) -> None:
        if not self._inline and self._database.checkpoint_is_due():
            await self._by_thread(self._database.checkpoint)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        if self._expiring is not None:
            await asyncio.wait([self._expiring])
        if self._committing is not None:
            await asyncio.wait([self._committing])
        self._watchers.end_all(StopAsyncIteration())
        try:
            self._database.remember("revision", self._history.revision)
        finally:  # the disk may be full; the lock of the file goes all the same
            self._thread.shutdown()
            self._database.close()


def row_of(event: Event) -> Row:
    record, previous = event.record, event.previous
    before = previous.revision if previous else 0
    return Row(record.revision, record.key, record.create_revision, before, event.deleted, record.value)
