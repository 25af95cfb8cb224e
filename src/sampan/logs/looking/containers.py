"""Records of containers through the API: what is there, merged by time; or what comes, of pods that come and go.

A stream of a log is one request for each instance of a container. One that breaks off while the container runs is asked for
again, and goes on where it was (``resuming.py``). Source: core/v1 PodLogOptions.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NamedTuple

from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.http import HttpClient
from sampan.client.informer import Change, Informer
from sampan.client.resources import PODS
from sampan.logs.joining import Joiner, Record, Run
from sampan.logs.log_record import Labels
from sampan.logs.looking.resuming import Place
from sampan.logs.timestamps import rfc3339, written
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.logs")

QUIET_SECONDS = 0.5
"""A record is shown when nothing has come after it for so long."""
AGAIN_SECONDS = 1.0
STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
Show = Callable[[Labels, Record], None]


class Instance(NamedTuple):
    """One run of a container."""

    namespace: str
    pod: str
    uid: str
    container: str
    restart: int


@dataclass(frozen=True)
class Choice:
    """Which containers, and from where on. ``namespace`` is None for all, ``names`` empty for all pods, ``tail`` None for all
    lines; ``since`` is nanoseconds since 1970, 0 for the beginning."""

    namespace: str | None
    names: frozenset[str] = frozenset()
    selector: str = ""
    container: str = ""
    tail: int | None = None
    since: int = 0
    previous: bool = False


def instances(pod: Object, choice: Choice) -> dict[Instance, Labels]:
    """Return the containers of a pod that have begun, with the labels of their records."""
    metadata, found = pod["metadata"], {}
    if choice.names and metadata["name"] not in choice.names:
        return {}
    status = pod.get("status") or {}
    for field in STATUSES:
        for each in status.get(field) or ():
            begun = each.get("state") or {}
            restart = int(each.get("restartCount") or 0)
            if choice.container and each["name"] != choice.container:
                continue
            if choice.previous:
                if "terminated" not in (each.get("lastState") or {}):
                    continue
            elif "running" not in begun and "terminated" not in begun:
                continue
            instance = Instance(metadata["namespace"], metadata["name"], metadata["uid"], each["name"], restart)
            found[instance] = labels_of(pod, instance)
    return found


def labels_of(pod: Object, instance: Instance) -> Labels:
    values = {
        "namespace": instance.namespace,
        "pod": instance.pod,
        "pod_uid": instance.uid,
        "container": instance.container,
        "restart": str(instance.restart),
        "node": (pod.get("spec") or {}).get("nodeName", ""),
        **{f"labels.{name}": value for name, value in (pod["metadata"].get("labels") or {}).items()},
    }
    return Labels({name: value for name, value in values.items() if value})


class Containers:
    def __init__(self, client: HttpClient, choice: Choice) -> None:
        self._client, self._choice = client, choice

    async def chosen(self) -> dict[Instance, Labels]:
        """Return the containers that are there now. Raises ``ApiError``."""
        choice = self._choice
        listed = await self._client.list(PODS, choice.namespace, label_selector=choice.selector)
        return {found: labels for pod in listed.items for found, labels in instances(pod, choice).items()}

    async def show(self, chosen: dict[Instance, Labels], show: Show) -> None:
        """Show what is there, in the order of time."""
        sources = [self._records(instance) for instance in chosen]
        labels = list(chosen.values())
        waiting: list[tuple[int, int, Record]] = []

        async def more(number: int) -> None:
            async for record in sources[number]:
                heapq.heappush(waiting, (rfc3339(record.time), number, record))
                return

        async with asyncio.TaskGroup() as group:
            for number in range(len(sources)):
                group.create_task(more(number), name=f"log {number}")
        while waiting:
            _, number, record = heapq.heappop(waiting)
            show(labels[number], record)
            await more(number)

    async def _records(self, instance: Instance) -> AsyncIterator[Record]:
        joiner = Joiner()
        try:
            async for time, text in self._lines(instance, {}):
                joiner.take(time, text)
                for record in taken(joiner):
                    yield record
        except ApiError as error:
            logger.warning("%s/%s/%s: %s", instance.namespace, instance.pod, instance.container, error)
        joiner.flush("end")
        for record in taken(joiner):
            yield record

    async def _lines(self, instance: Instance, query: dict[str, str]) -> AsyncIterator[tuple[bytes, bytes]]:
        """Yield times and texts."""
        choice = self._choice
        given = {"container": instance.container, "timestamps": "true", **query}
        if choice.previous:
            given["previous"] = "true"
        if choice.tail is not None and "sinceTime" not in query:
            given["tailLines"] = str(choice.tail)
        if choice.since and "sinceTime" not in query:
            given["sinceTime"] = written(choice.since)
        async for line in self._client.lines(PODS.path(instance.namespace, instance.pod, "log"), given):
            time, _, text = line.partition(b" ")
            yield time, text

    async def follow(self, show: Show) -> None:
        """Show what comes, until cancelled. Raises ``ApiError``, ``ApiUnreachable`` where pods cannot be listed."""
        choice = self._choice
        opened: set[Instance] = set()
        running: dict[str, set[Instance]] = {}
        """By pod, what its status said last."""
        await self.chosen()  # says at once what is not allowed
        informer = Informer(self._client, PODS, choice.namespace, label_selector=choice.selector)
        async with asyncio.TaskGroup() as group:

            def changed(change: Change, old: Object | None, pod: Object) -> None:
                uid = pod["metadata"]["uid"]
                if change == "DELETED":
                    running.pop(uid, None)
                    return
                there = instances(pod, choice)
                running[uid] = {instance for instance in there if runs(pod, instance)}
                for instance, labels in there.items():
                    if instance not in opened:
                        opened.add(instance)
                        work = self._follow_one(instance, labels, show, running)
                        group.create_task(work, name=f"log of {instance.pod}/{instance.container}")

            informer.add_handler(changed)
            group.create_task(informer.run(), name="pods")

    async def _follow_one(
        self, instance: Instance, labels: Labels, show: Show, running: dict[str, set[Instance]]
    ) -> None:
        shown = Shown(Joiner(), lambda record: show(labels, record))
        place = Place(self._choice.since, tail=self._choice.tail is not None)
        while True:
            since = place.again()
            query = {"follow": "true", **({"sinceTime": written(since)} if since else {})}
            try:
                async for time, text in self._lines(instance, query):
                    if place.is_new(time, text):
                        shown.take(time, text)
            except ApiUnreachable as error:
                logger.debug("%s/%s/%s: %s", instance.namespace, instance.pod, instance.container, error)
            except ApiError as error:
                if error.code == 403:
                    logger.warning("%s/%s/%s: %s", instance.namespace, instance.pod, instance.container, error)
                    return
            await asyncio.sleep(AGAIN_SECONDS)
            if instance not in running.get(instance.uid, ()):
                shown.flush("end")
                return


class Shown:
    """Lines of one container to records, each shown when it is whole, or when nothing has come for a while."""

    def __init__(self, joiner: Joiner, show: Callable[[Record], None]) -> None:
        self._joiner, self._show = joiner, show
        self._timer: asyncio.TimerHandle | None = None

    def take(self, time: bytes, text: bytes) -> None:
        self._joiner.take(time, text)
        self._give()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self.flush, "timeout")

    def flush(self, why: str) -> None:
        self._joiner.flush(why)
        self._give()

    def _give(self) -> None:
        for record in taken(self._joiner):
            self._show(record)


def runs(pod: Object, instance: Instance) -> bool:
    status = pod.get("status") or {}
    return any(
        each["name"] == instance.container and "running" in (each.get("state") or {})
        for field in STATUSES
        for each in status.get(field) or ()
    )


def taken(joiner: Joiner) -> list[Record]:
    """Take the records that a joiner has."""
    found: list[Record] = []
    for item in joiner.done:
        found += item.records() if isinstance(item, Run) else [item]
    joiner.done.clear()
    return found
