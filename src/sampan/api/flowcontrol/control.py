"""Flow control of one API: a request enters, and leaves when it is answered.

``flow_of`` classifies a request (once for all of its kind: the answer is kept), ``enter`` takes a seat; where there is none
it waits, at most a quarter of the request timeout, or is refused with 429. A request costs a seat; a list costs as many as
the last one of its kind was large. Configuration is read by ``load``, which a write of it runs before it is answered.
Source: KEP-1040, k8s.io/apiserver pkg/util/flowcontrol.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from sampan.api import metadata
from sampan.api.errors import StatusError
from sampan.api.flowcontrol.classify import distinguisher, in_order, matching
from sampan.api.flowcontrol.levels import Level, Seats
from sampan.api.flowcontrol.queues import Waiting
from sampan.api.metrics.requests import BUCKETS
from sampan.api.remembered import Remembered
from sampan.api.request import Attributes
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Event, Put
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

SCHEMAS, LEVELS = (
    prefix_of(f"{plural}.flowcontrol.apiserver.k8s.io") for plural in ("flowschemas", "prioritylevelconfigurations")
)
KNOWN_BYTES = 8 << 20
LIST_BYTES_A_SEAT = 256 * 1024
SEATS_AT_MOST = 10
"""The widest a request is (Kubernetes' limit too)."""
RETRY_AFTER_SECONDS = 1


class Flow(NamedTuple):
    """All requests that are treated alike: by whom, and of what kind."""

    schema: str
    level: Level
    hand: tuple[int, ...]
    headers: tuple[tuple[bytes, bytes], ...]


class TooManyRequests(StatusError):
    """429, in plain text as Kubernetes says it."""

    def __init__(self) -> None:
        super().__init__(
            429,
            "TooManyRequests",
            "Too many requests, please try again later.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


class FlowControl:
    def __init__(self, api: Api, server_seats: int, wait_seconds: float) -> None:
        self._api = api
        self.seats = Seats(server_seats)
        self._wait_seconds = wait_seconds
        self._schemas: list[Object] = []
        self._revision = 0
        self._flows: Remembered[tuple[str | tuple[str, ...], ...], Flow] = Remembered(KNOWN_BYTES)
        self._widths: dict[tuple[str, str, str], int] = {}
        self.waits: dict[tuple[str, str, str], tuple[list[int], float]] = {}
        """How long requests waited, by FlowSchema, level and whether they were served: counts of ``BUCKETS``, and the
        sum."""

    # requests

    def enter(self, flow: Flow, seats: int) -> bool:
        """Take seats for a request of a flow; False where it must ``wait``."""
        level = flow.level
        if not level.exempt and (
            (level.queues is not None and level.queues.waiting) or not self.seats.fits(level, seats)
        ):
            return False
        self.seats.take(level, seats)
        return True

    def width(self, at: Attributes) -> int:
        """Return how many seats a list costs."""
        return self._widths.get((at.group, at.resource, at.namespace), 1)

    def learn(self, at: Attributes, size_bytes: int) -> None:
        """Remember how large a list was."""
        key = (at.group, at.resource, at.namespace)
        if size_bytes >= LIST_BYTES_A_SEAT:
            self._widths[key] = min(1 + size_bytes // LIST_BYTES_A_SEAT, SEATS_AT_MOST)
        else:
            self._widths.pop(key, None)

    async def wait(self, flow: Flow, seats: int) -> None:
        """Wait for the turn of a request, and take its seats. Raises 429."""
        level, queues = flow.level, flow.level.queues
        if queues is None:
            raise self._refused(flow, "concurrency-limit")
        waiting = Waiting(seats, asyncio.get_running_loop().create_future())
        queue = queues.put(flow.hand, waiting)
        if queue is None:
            raise self._refused(flow, "queue-full")
        self.seats.waiting += 1
        begun = perf_counter()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await waiting.future
            self._waited(flow, "true", begun)
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiting.future.done() and not waiting.future.cancelled():  # its turn came in the same moment
                self.seats.give_back(level, seats)
            else:
                self.seats.waiting -= 1
                queues.leave(queue, waiting)
            self._waited(flow, "false", begun)
            if isinstance(error, TimeoutError):
                raise self._refused(flow, "time-out") from None
            raise

    def _waited(self, flow: Flow, served: str, begun: float) -> None:
        key, elapsed = (flow.schema, flow.level.name, served), perf_counter() - begun
        counts, total = self.waits.get(key) or ([0] * (len(BUCKETS) + 1), 0.0)
        counts[bisect_left(BUCKETS, elapsed)] += 1
        self.waits[key] = counts, total + elapsed

    def _refused(self, flow: Flow, reason: str) -> TooManyRequests:
        counts, key = flow.level.rejected, (flow.schema, reason)
        counts[key] = counts.get(key, 0) + 1
        return TooManyRequests()

    def flow_of(self, at: Attributes) -> Flow:
        """Return the flow of a request."""
        user = at.user
        key: tuple[str | tuple[str, ...], ...]
        if at.resource:
            key = (user.name, user.groups, at.verb, at.group, at.resource, at.subresource, at.namespace)
        else:
            key = (user.name, user.groups, at.verb, at.path)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._classified(at)
            self._flows.put(key, flow, 600 + sum(len(text) for part in key for text in part))
        return flow

    def _classified(self, at: Attributes) -> Flow:
        schema = matching(self._schemas, at)
        if schema is None:  # a user in neither of the groups that everybody is in: the catch-all's, as in Kubernetes
            schema = next(s for s in self._schemas if s["metadata"]["name"] == "catch-all")
        name = schema["metadata"]["name"]
        level = self.seats.levels[text(schema, "spec", "priorityLevelConfiguration", "name")]
        hand = level.queues.hand(f"{name}\0{distinguisher(schema, at)}") if level.queues is not None else ()
        headers = (
            (b"x-kubernetes-pf-flowschema-uid", str(schema["metadata"].get("uid", "")).encode()),
            (b"x-kubernetes-pf-prioritylevel-uid", level.uid.encode()),
        )
        return Flow(name, level, hand, headers)

    # configuration

    async def follow(self, events: Sequence[Event]) -> None:
        """Take in what was written, unless ``load`` has seen it already."""
        if events[-1].revision > self._revision:
            await self.load()

    async def load(self) -> None:
        """Read the configuration anew; say of each FlowSchema whether its level is there."""
        store = self._api.store
        page = await store.page(LEVELS)
        levels = [self._api.parsed(record) for record in page.records]
        records = (await store.page(SCHEMAS)).records
        self._revision = page.revision
        schemas = [self._api.parsed(record) for record in records]
        self.seats.configure(levels)
        there = [s for s in schemas if text(s, "spec", "priorityLevelConfiguration", "name") in self.seats.levels]
        self._schemas = in_order(there)
        self._flows.clear()
        puts = []
        for record, schema in zip(records, schemas, strict=True):
            if with_dangling(schema, self.seats.levels) is None:
                continue
            changed = with_dangling(self._api.whole(record), self.seats.levels)
            if changed is not None:
                puts.append(Put(record.key, dumps(changed), expected=record.revision))
        if puts:
            try:
                await store.commit(puts)
            except Conflict:
                return  # another write is on its way, and loads when it is done


def with_dangling(schema: Object, levels: dict[str, Level]) -> Object | None:
    """Return a FlowSchema whose condition Dangling is right; None where it is already."""
    name = text(schema, "spec", "priorityLevelConfiguration", "name")
    dangling, reason = ("False", "Found") if name in levels else ("True", "NotFound")
    conditions = items(schema, "status", "conditions")
    if any(c.get("type") == "Dangling" and c.get("status") == dangling for c in conditions):
        return None
    message = (
        f'This FlowSchema references the PriorityLevelConfiguration object named "{name}" and it exists'
        if dangling == "False"
        else f'This FlowSchema references the PriorityLevelConfiguration object named "{name}" but there is no such object'
    )
    condition = {
        "type": "Dangling",
        "status": dangling,
        "lastTransitionTime": metadata.now(),
        "reason": reason,
        "message": message,
    }
    others = [c for c in conditions if c.get("type") != "Dangling"]
    meta = {key: value for key, value in schema["metadata"].items() if key != "resourceVersion"}
    return {**schema, "metadata": meta, "status": {**mapping(schema, "status"), "conditions": [*others, condition]}}
