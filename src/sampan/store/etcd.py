"""The store on etcd: writes are etcd's transactions, reads come from a copy in memory that one watch keeps up to date.

How a write flows: ``commit`` is one ``Txn`` that compares mod_revisions; its revision is what etcd gives it. It is answered
when the watch has brought it, so that whoever is answered finds it in memory, and watchers have it in revision order
among the writes of other servers.
How a consistent read flows: ``fresh`` asks etcd for its revision by a linearizable read (many callers share one) and
returns when memory has reached it. Revisions that were spent outside our keys bring no event: then a progress request
tells how far the watch is, or, before etcd 3.4.25 and 3.5.8 whose answer may overtake events (etcd #15220), a write of a key
of our own that comes back through the watch. See docs/adr/0010-fresh-reads.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any

from sampan.store import etcd_pb2 as pb
from sampan.store.encryption import Encryption
from sampan.store.etcd_address import parse
from sampan.store.etcd_client import EtcdClient, Refused
from sampan.store.etcd_compaction import Compaction
from sampan.store.etcd_layout import OWN, Move, range_end
from sampan.store.etcd_leases import Leases
from sampan.store.history import History
from sampan.store.image import Image
from sampan.store.protocol import (
    Compacted,
    Concern,
    Conflict,
    Event,
    Page,
    Put,
    Record,
    StoreError,
    Unavailable,
    Unknown,
    restamped,
    with_resource_version,
)
from sampan.store.retention import Limits, Retention
from sampan.store.watchers import PrefixWatch, Watchers

logger = logging.getLogger("sampan.store")

LOAD_AT_ONCE = 2_000
SILENCE_SECONDS = 0.05
"""How long a reader waits for the watch before it asks how far the watch is: events nearly always come within that."""
REACH_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
BARRIERS = f"{OWN}barriers/"
"""Keys whose writes only mark a place in the watch."""
BARRIER_SECONDS = 60


class EtcdStore:
    """``Store`` on etcd 3.4 or newer, shared with any number of other servers. Made by ``open``."""

    def __init__(self, url: str, limits: Limits | None = None, encryption: Encryption | None = None) -> None:
        self._encryption = encryption or Encryption()
        self.address = parse(url)
        self._limits = limits or Limits()
        self._client = EtcdClient(self.address)
        self._leases = Leases(self._client)
        self._compaction = Compaction(self._client)
        self._history = History()
        self._retention = Retention(self._limits, 0.0, 0)
        self._watchers = Watchers()
        self._stream: Any = None
        self._watch_id = 0
        self._progress_is_ordered = False
        self._barrier = f"{self.address.root}{BARRIERS}{uuid.uuid4()}".encode()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._next_round: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: str | None = None
        self._closed = False
        self._stale: list[pb.KeyValue] = []
        """What was found at the start to be sealed as it would not be today."""

    @classmethod
    async def open(cls, url: str, limits: Limits | None = None, encryption: Encryption | None = None) -> EtcdStore:
        """Return a store with all of etcd's state in memory, following it. Raises ``StoreError``."""
        store = cls(url, limits, encryption)
        try:
            version = await store._client.version()
            store._progress_is_ordered = version >= (3, 5, 8) or (3, 4, 25) <= version < (3, 5)
            await Move(store._client, store.address, store._encryption).run()
            records, revision = await store._state()
        except BaseException:
            store._client.close()
            raise
        store._begin(records, revision)
        stale, store._stale = store._stale, []
        store._run("store-follow", store._follow())
        try:
            await store._reseal(stale)
        except BaseException:
            await store.close()
            raise
        return store

    async def _reseal(self, stale: Sequence[pb.KeyValue]) -> None:
        """Write anew what the configuration would seal otherwise today, unless somebody has just written it."""
        for kv in stale:
            key = self.address.store_key(kv.key)
            put = Put(key, self._encryption.open(key, kv.value, kv.key), expected=kv.mod_revision)
            with contextlib.suppress(Conflict):
                await self.commit([put])

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # reads

    @property
    def shared(self) -> bool:
        return True

    @property
    def revision(self) -> int:
        return self._history.revision

    @property
    def compacted(self) -> int:
        """The oldest revision that lists and watches from memory can begin at."""
        return self._history.compacted

    def trouble(self) -> str | None:
        return self._trouble

    def get(self, key: str) -> Record | None:
        return self._history.records.get(key)

    def image(self) -> Image:
        return self._history.image()

    def history(self, key: str) -> list[Event]:
        return self._history.of(key)

    def time_of(self, revision: int) -> float | None:
        return self._history.time_of(revision)

    async def page(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Page:
        if revision > self.revision:
            await self.fresh()
        if 0 < revision < self._history.compacted:
            return await self._page_of_the_past(prefix, limit, after, revision)
        return self._history.page(prefix, limit, after, revision)

    async def _page_of_the_past(self, prefix: str, limit: int, after: str, revision: int) -> Page:
        """A page that only etcd knows: of a list that another server began, or that began before this one."""
        first = self.address.key_of(after) + b"\0" if after else self.address.key_of(prefix)
        end = range_end(self.address.key_of(prefix))
        request = pb.RangeRequest(key=first, range_end=end, limit=limit, revision=revision)
        try:
            found = await self._client.range(request)
        except Refused as error:
            if error.compacted:
                raise Compacted(revision, self._history.compacted) from error
            raise
        records = [record for kv in found.kvs if (record := self._record(kv))]
        return Page(records, revision, found.more, max(int(found.count) - len(found.kvs), 0))

    def watch(self, prefix: str, *, since: int = 0, concern: Concern | None = None) -> PrefixWatch:
        if self._closed:
            raise StoreError("the store is closed")
        past = self._history.since(since, prefix) if since else []
        return self._watchers.add(prefix, since or self.revision, past, concern)

    async def fresh(self) -> None:
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().create_future()
            self._run("store-fresh", self._refresh(self._next_round))
        await asyncio.shield(self._next_round)

    async def _refresh(self, done: asyncio.Future[None]) -> None:
        """One quorum read for all who asked before it was sent."""
        try:
            await asyncio.sleep(0)  # the rest of this tick's callers
            self._next_round = None
            request = pb.RangeRequest(key=self._barrier, limit=1, keys_only=True)
            found = await self._client.range(request)
            await self._reached(int(found.header.revision))
        except BaseException as error:  # whatever it was, nobody is to wait for ever
            done.set_exception(error if isinstance(error, StoreError) else Unavailable(f"no fresh read: {error!r}"))
            done.exception()  # the callers may be gone
            if not isinstance(error, StoreError):
                raise
        else:
            done.set_result(None)

    async def _reached(self, revision: int) -> None:
        """Return when memory is at least at ``revision``. Raises ``Unavailable``."""
        if self._history.revision >= revision:
            return
        reached = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, next(self._count), reached))
        try:
            done, _ = await asyncio.wait([reached], timeout=SILENCE_SECONDS)
            if not done:
                await self._ask_progress()
                async with asyncio.timeout(REACH_SECONDS):
                    await reached
        except TimeoutError:
            why = self._trouble or f"the watch is at revision {self.revision}, etcd at {revision}"
            raise Unavailable(f"memory does not follow etcd: {why}") from None
        finally:
            reached.cancel()

    async def _ask_progress(self) -> None:
        """Have the watch say how far it is, where nothing of ours happened."""
        if not self._progress_is_ordered:
            lease = await self._leases.of(BARRIER_SECONDS)
            await self._client.put(pb.PutRequest(key=self._barrier, value=b"{}", lease=lease))
        elif self._stream is not None:
            request = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
            try:
                await self._stream.send_message(request)
            except Exception as error:  # the follower meets the same failure, and connects anew
                logger.debug("progress request: %s", error)

    # writes

    async def commit(self, puts: Sequence[Put]) -> list[Record]:
        if self._closed:
            raise StoreError("the store is closed")
        request = await self._request(puts)
        try:
            answer = await self._client.txn(request)
        except Refused as error:
            if not error.lease_gone:
                raise
            self._leases.forget()
            answer = await self._client.txn(await self._request(puts))
        revision = int(answer.header.revision)
        try:
            await self._reached(revision)
        except Unavailable as error:
            if not answer.succeeded:
                raise
            # who is told that nothing was written would write again
            raise Unknown(f"revision {revision} is written, but {error}") from error
        if not answer.succeeded:
            raise self._conflict(puts, answer)
        records = []
        for put, response in zip(puts, answer.responses, strict=True):
            if put.value is None and not response.response_delete_range.deleted:
                continue
            records.append(self._written(put, revision))
        return records

    async def _request(self, puts: Sequence[Put]) -> pb.TxnRequest:
        """Return the puts as one transaction."""
        request = pb.TxnRequest()
        for put in puts:
            key = self.address.key_of(put.key)
            if put.expected is not None:
                request.compare.add(key=key, target=pb.Compare.MOD, mod_revision=put.expected)
                request.failure.add(request_range=pb.RangeRequest(key=key))
            if put.value is None:
                request.success.add(request_delete_range=pb.DeleteRangeRequest(key=key))
            else:
                lease = await self._leases.of(put.ttl_seconds) if put.ttl_seconds else 0
                value = self._encryption.seal(put.key, put.value, key)
                request.success.add(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        return request

    def _conflict(self, puts: Sequence[Put], answer: pb.TxnResponse) -> Conflict:
        expecting = [put for put in puts if put.expected is not None]
        for put, response in zip(expecting, answer.responses, strict=True):
            kvs = response.response_range.kvs
            if (int(kvs[0].mod_revision) if kvs else 0) != put.expected:
                return Conflict(put.key, self._record(kvs[0]) if kvs else None)
        raise AssertionError("a comparison failed, and all are true")

    def _written(self, put: Put, revision: int) -> Record:
        event = self._history.change(put.key, revision)
        if event is None:  # memory was loaded anew meanwhile
            value = put.value if put.value is not None else put.last or b'{"metadata":{}}'
            return Record(put.key, with_resource_version(value, revision), revision, revision)
        if event.deleted and put.last:
            return event.record._replace(value=with_resource_version(put.last, revision))
        return event.record

    # following etcd

    async def _state(self) -> tuple[dict[str, Record], int]:
        """Return all records of etcd at one revision."""
        root = self.address.root.encode()
        first, revision = root, 0
        records: dict[str, Record] = {}
        while True:
            request = pb.RangeRequest(key=first, range_end=range_end(root), limit=LOAD_AT_ONCE, revision=revision)
            found = await self._client.range(request)
            revision = revision or int(found.header.revision)
            for kv in found.kvs:
                record = self._record(kv)
                if record is not None:
                    records[record.key] = record
                    if self._encryption and self._encryption.stale(record.key, kv.value):
                        self._stale.append(kv)
            if not found.more:
                return records, revision
            first = found.kvs[-1].key + b"\0"

    def _record(self, kv: pb.KeyValue) -> Record | None:
        """Return one of etcd's keys as ours; None where it is the store's own, or no JSON (protobuf of others)."""
        if kv.key.startswith(self._own):
            return None
        key = self.address.store_key(kv.key)
        value = self._encryption.open(key, kv.value, kv.key)
        if not value.startswith(b"{"):
            return None
        return Record(key, with_resource_version(value, kv.mod_revision), kv.create_revision, kv.mod_revision)

    @property
    def _own(self) -> bytes:
        return f"{self.address.root}{OWN}".encode()

    def _begin(self, records: dict[str, Record], revision: int) -> None:
        self._history = History()
        self._history.records = records
        self._history.start(revision)
        self._retention = Retention(self._limits, time.monotonic(), revision)
        self._wake()

    async def _follow(self) -> None:
        """Keep memory up to date until the store is closed; connect anew as often as it takes."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._follow_once()
            except Compacted:
                await self._load_anew()
            except StoreError as error:
                pause = FIRST_PAUSE_SECONDS if self._trouble is None else min(2 * pause, LONGEST_PAUSE_SECONDS)
                if self._trouble is None:
                    logger.warning("etcd: %s; connecting anew", error)
                self._trouble = str(error)
                await asyncio.sleep(pause)
            except Exception as error:
                logger.exception("following etcd failed; the state is loaded anew")
                self._trouble = f"{type(error).__name__}: {error}"
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                await self._load_anew()

    async def _follow_once(self) -> None:
        root = self.address.root.encode()
        create = pb.WatchCreateRequest(
            key=root, range_end=range_end(root), start_revision=self.revision + 1, progress_notify=True
        )
        async with self._client.watching() as stream:
            try:
                await stream.send_message(pb.WatchRequest(create_request=create))
                while True:
                    response = await stream.recv_message()
                    if response is None:
                        raise Unavailable("the member ended the watch")
                    self._stream = stream
                    self._take(response)
            finally:
                self._stream = None

    def _take(self, response: pb.WatchResponse) -> None:
        if response.compact_revision:
            raise Compacted(self.revision, int(response.compact_revision))
        if response.canceled:
            raise Refused(f"etcd ended the watch: {response.cancel_reason}")
        if response.created:
            self._watch_id = response.watch_id
            if self._trouble is not None:
                logger.warning("etcd: following again at %s", self._client.endpoint)
            self._trouble = None
            return
        if response.events:
            self._apply(response.events)
        elif self._progress_is_ordered or response.watch_id == self._watch_id:
            self._history.advance(int(response.header.revision))
        self._wake()

    def _apply(self, changes: Sequence[pb.Event]) -> None:
        events: list[Event] = []
        # what this batch has already changed, for a key may be in it more than once
        newest: dict[str, Record | None] = {}
        records = self._history.records
        for change in changes:
            kv = change.kv
            revision = int(kv.mod_revision)
            if change.type == pb.Event.DELETE:
                key = self.address.store_key(kv.key)
                previous = newest[key] if key in newest else records.get(key)
                if previous is not None:
                    gone = previous._replace(value=restamped(previous, revision), revision=revision)
                    events.append(Event(gone, previous, True))
                    newest[key] = None
                continue
            record = self._record(kv)
            if record is not None:
                previous = newest[record.key] if record.key in newest else records.get(record.key)
                events.append(Event(record, previous, False))
                newest[record.key] = record
        if events:
            self._history.apply(events)
            self._watchers.publish(events)
        self._history.advance(int(changes[-1].kv.mod_revision))
        if target := self._retention.target(time.monotonic(), self._history):
            self._history.forget(target)
            self._watchers.end_behind(target)
            self._run("store-compact", self._compaction.in_turn(target, self.revision))

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._history.revision:
            _, _, reached = heapq.heappop(self._waiting)
            if not reached.done():
                reached.set_result(None)

    async def _load_anew(self) -> None:
        """What happened meanwhile is forgotten by etcd: take its state, and have every watcher begin again."""
        try:
            records, revision = await self._state()
        except StoreError as error:
            self._trouble = str(error)
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            return
        logger.warning("etcd: revision %d is compacted, beginning anew at %d", self.revision, revision)
        self._begin(records, revision)
        self._watchers.end_all(StoreError(f"the history before revision {revision} is gone"))

    # compaction

    async def compact(self, revision: int) -> None:
        revision = min(revision, self.revision)
        if revision <= self._history.compacted:
            return
        await self._compaction.at(revision)
        self._history.forget(revision)
        self._watchers.end_behind(revision)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watchers.end_all(StopAsyncIteration())
        self._client.close()
