"""Asking kubelets for their Summary, side by side; those who ask within the same second share an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import orjson

from sampan.client.protocol import Client
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.metrics")

FRESH_SECONDS = 1.0
ANSWER_SECONDS = 10.0
AT_A_TIME = 64


class Summaries:
    """The Summaries of nodes, through ``nodes/proxy`` of any Kubernetes."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._known: dict[str, tuple[float, Object]] = {}
        self._asking: dict[str, asyncio.Task[Object]] = {}
        self._seats = asyncio.Semaphore(AT_A_TIME)

    async def of(self, nodes: Iterable[str]) -> dict[str, Object]:
        """Return node → Summary, empty where a kubelet does not answer."""
        names = list(nodes)
        self._forget()
        found = await asyncio.gather(*(self._of(name) for name in names))
        return dict(zip(names, found, strict=True))

    def _forget(self) -> None:
        now = self._clock()
        for name in [name for name, (at, _) in self._known.items() if now - at >= FRESH_SECONDS]:
            del self._known[name]

    async def _of(self, name: str) -> Object:
        known = self._known.get(name)
        if known is not None:
            return known[1]
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(name), name=f"stats of {name}")
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)

    async def _ask(self, name: str) -> Object:
        path = f"/api/v1/nodes/{name}/proxy/stats/summary"
        try:
            async with self._seats, asyncio.timeout(ANSWER_SECONDS):
                status, body = await self._client.raw("GET", path, query={"only_cpu_and_memory": "true"})
            summary = orjson.loads(body)
            if status != 200:
                raise ValueError(summary.get("message") or f"status {status}")
        except (OSError, TimeoutError, ValueError) as error:
            logger.warning("unable to fetch metrics from node %s: %s", name, error)
            return {}
        self._known[name] = (self._clock(), summary)
        return dict(summary)
