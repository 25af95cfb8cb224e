"""What is true goes into the statuses: when Envoy has answered for it, and only where it differs.

``note_due`` is told with which push an object's status changes; ``run`` writes what Envoy has acknowledged, and after a time
says of the rest that it has not. What of an Ingress is not served is said by Events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.gateway.failures import expected
from sampan.gateway.ingress.translation import KINDS as TRANSLATED
from sampan.gateway.pipeline import Pipeline
from sampan.gateway.plugins.loader import Plugins
from sampan.gateway.status import Moment
from sampan.gateway.watched import RESOURCES
from sampan.gateway.xds.ads import Ads
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

SETTLE_SECONDS = 10.0
"""How long Envoy may take to answer before the status says that it has not."""
STATUS_WRITERS = 8


class Telling:
    """``leads`` says whether it is for us to write, ``envoy_runs`` whether there is an Envoy to answer, ``again`` has the
    world looked at once more."""

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        ads: Ads,
        informers: Mapping[ResourceType, Informer],
        plugins: Plugins,
        *,
        leads: Callable[[], bool],
        envoy_runs: Callable[[], bool],
        again: Callable[[], None],
    ) -> None:
        self.client, self.pipeline, self.ads = client, pipeline, ads
        self.informers, self.plugins = informers, plugins
        self.leads, self.envoy_runs, self._again = leads, envoy_runs, again
        self.news, self.told = asyncio.Event(), asyncio.Event()
        """``told`` is set while every status is written that is due."""
        self.events = EventRecorder(client, "sampan-gateway")
        self.on_problem: Callable[[Object, str], None] = self._record_problem
        """Is told what of an Ingress or IngressRoute is not served."""
        self.pushed: tuple[int, dict[str, str]] = (0, {})
        """The last push, and the versions of plugins that are live with it."""
        self.due: dict[tuple[str, str], tuple[int, int, float]] = {}
        """Object → the first and last push its status waits for, and since when."""
        self._problems: dict[tuple[str, str], tuple[str, ...]] = {}
        """Ingress or IngressRoute → what its Events said last."""
        self._retries = 0
        """Statuses that are written again in a moment."""

    def note_due(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        for entry in self.pipeline.due:
            first, _, since = self.due.get(entry, (number, number, now))
            self.due[entry] = first, number, since
        if self.pipeline.due:
            self.pipeline.due.clear()
            self.told.clear()
            self.news.set()

    async def run(self) -> None:
        """Write the statuses that are due and answered for; those that Envoy does not answer for say so after a time."""
        while True:
            self.news.clear()
            ripe, live = self._ripe()
            if not ripe:
                if not self.due and not self._retries:
                    self.told.set()
                await self._news()
                continue
            for entry in ripe:
                self.due.pop(entry, None)
            moment = Moment(timestamp(), live)
            queue = iter(ripe)
            async with asyncio.TaskGroup() as group:
                for number in range(min(STATUS_WRITERS, len(ripe))):
                    group.create_task(self._write_all(queue, moment), name=f"statuses-{number}")
            if not live:
                number = self.ads.sequence
                now = asyncio.get_running_loop().time()
                for entry in ripe:  # they are to follow when Envoy answers after all
                    self.due.setdefault(entry, (number, number, now))
            self._sweep()

    def _sweep(self) -> None:
        """Take away the versions of plugins that Envoy has been told not to use any more, and has taken that."""
        number, live = self.pushed
        if self.ads.acknowledged >= number:
            self.plugins.sweep({**live, **self.pipeline.taken_versions()})

    def _ripe(self) -> tuple[list[tuple[str, str]], bool]:
        """Return the statuses to write now, and whether Envoy has answered for them."""
        done = self.ads.acknowledged if self.envoy_runs() else self.ads.sequence
        now = asyncio.get_running_loop().time()
        ripe = [
            entry
            for entry, (first, last, since) in self.due.items()
            if last <= done or (first <= done and now - since > 1.0)
        ]
        if ripe:
            return ripe, True
        return [entry for entry, (_, _, since) in self.due.items() if now - since > SETTLE_SECONDS], False

    async def _news(self) -> None:
        """Return when there may be something to write."""
        waiting = {asyncio.ensure_future(self.news.wait()), asyncio.ensure_future(self.ads.answered())}
        since = min((entry[2] for entry in self.due.values()), default=None)
        timeout = None
        if since is not None:
            age = asyncio.get_running_loop().time() - since
            timeout = 1.05 - age if age < 1.0 else max(0.05, SETTLE_SECONDS + 0.05 - age)
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
        if self.pipeline.has_news():
            self._again()  # what Envoy refused is part of the world

    async def _write_all(self, entries: Iterator[tuple[str, str]], moment: Moment) -> None:
        """Write statuses one after the other, beside others that take from the same. What has become due again meanwhile is
        left to its time: Envoy has not answered for what it is now."""
        for kind, key in entries:
            if (kind, key) not in self.due:
                await self._write(kind, key, moment)
            await asyncio.sleep(0)  # thousands at once would hold up whoever changes a route

    async def _write(self, kind: str, key: str, moment: Moment) -> None:
        """Write a status unless it is there already."""
        resource = RESOURCES[kind]
        if not self.leads():
            return  # all of it is due when we do
        new = self.pipeline.status(kind, key, moment)
        obj = self.informers[resource].get(key)
        if kind in TRANSLATED and moment.live:
            self._tell_problems(kind, key, obj)
        if new is None or obj is None or obj.get("status") == new:
            return
        metadata = obj["metadata"]
        patch = {**dict.fromkeys(obj.get("status") or {}), **new}  # what is not said any more is taken away
        try:
            await self.client.patch(
                resource,
                metadata["name"],
                {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch},
                metadata.get("namespace"),
                type="merge",
                subresource="status",
            )
        except Exception as error:
            if not expected(error):
                raise
            gone = isinstance(error, ApiError) and (error.is_not_found or error.is_conflict)
            if not gone:  # else its event brings us back
                logger.warning("status of %s %s: %s", kind, key, error)
                self._later(resource, kind, key)
            elif isinstance(error, ApiError) and error.is_conflict:
                self._later(resource, kind, key)

    def _tell_problems(self, kind: str, key: str, obj: Object | None) -> None:
        """Say by Events what of an Ingress is not served, each once for as long as it is so."""
        found = self.pipeline.world.all("Outcome").get((kind, key)) or ()
        before = self._problems.get((kind, key), ())
        if obj is None or not found:
            self._problems.pop((kind, key), None)
            return
        self._problems[kind, key] = found
        about = {"apiVersion": RESOURCES[kind].api_version, "kind": RESOURCES[kind].kind, **obj}
        for text in found:
            if text not in before:
                self.on_problem(about, text)

    def _record_problem(self, about: Object, text: str) -> None:
        self.events.warning(about, "NotServed", text)

    def _later(self, resource: ResourceType, kind: str, key: str) -> None:
        loop = asyncio.get_running_loop()

        self._retries += 1
        self.told.clear()

        def again() -> None:
            self._retries -= 1
            self.due.setdefault((kind, key), (self.ads.sequence, self.ads.sequence, loop.time()))
            self.news.set()

        loop.call_later(0.2, again)
