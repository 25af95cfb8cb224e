"""The leases of all simulated nodes, renewed from one loop: spread over the interval, a few at a time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging

from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import LEASES
from sampan.schema.objects import Object
from sampan.simulation import nodes

logger = logging.getLogger("sampan.simulation")

INTERVAL_SECONDS = (10.0, 30.0)
"""A kubelet's ten seconds for as many nodes as may be; longer for thousands, and within the lease's forty in any case."""
RENEWALS_A_SECOND = 100.0
AT_A_TIME = 64


class Heartbeats:
    """``silenced`` names the nodes that must not be heard."""

    def __init__(self, client: Client, node_informer: Informer, silenced: set[str]) -> None:
        self.client = client
        self.nodes = node_informer
        self.silenced = silenced
        self._heap: list[tuple[float, int, str]] = []
        self._known: dict[str, int] = {}
        """The number of each node's entry in the heap. One with another number is of a node that has gone since."""
        self._versions: dict[str, str] = {}
        """The resourceVersion of each node's lease."""
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        node_informer.add_handler(self._on_node)

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        name = new["metadata"]["name"]
        if change == "DELETED":
            self._known.pop(name, None)
            self._versions.pop(name, None)
        elif name not in self._known and nodes.is_simulated(new):
            self._push(name, 0.0)
            self._wake.set()

    def _push(self, name: str, due: float) -> None:
        number = self._known[name] = next(self._numbers)
        heapq.heappush(self._heap, (due, number, name))

    def interval(self) -> float:
        least, most = INTERVAL_SECONDS
        return min(max(least, len(self._known) / RENEWALS_A_SECOND), most)

    async def run(self) -> None:
        """Renew until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            due: list[tuple[float, int, str]] = []
            while self._heap and self._heap[0][0] <= clock() and len(due) < AT_A_TIME:
                due.append(heapq.heappop(self._heap))
            present = [(number, name) for _, number, name in due if self._known.get(name) == number]
            await asyncio.gather(*(self._renew(name) for _, name in present))
            for number, name in present:
                if self._known.get(name) == number:
                    self._push(name, clock() + self.interval())
            if due:
                continue
            pause = self._heap[0][0] - clock() if self._heap else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _renew(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is None or name in self.silenced:
            return
        try:
            written = await self._write(name, nodes.lease(node))
            self._versions[name] = written["metadata"].get("resourceVersion", "")
        except (ApiError, OSError) as error:
            logger.error("heartbeat of %s: %s", name, error)

    async def _write(self, name: str, lease: Object) -> Object:
        """Update the lease as it was written last, which Kubernetes wants to be told; else as it is found, or make it."""
        metadata = lease["metadata"]
        if version := self._versions.pop(name, ""):
            try:
                return await self.client.update(LEASES, {**lease, "metadata": {**metadata, "resourceVersion": version}})
            except ApiError as error:
                if not (error.is_conflict or error.is_not_found):
                    raise
        try:
            return await self.client.patch(LEASES, name, lease, metadata["namespace"])
        except ApiError as error:
            if not error.is_not_found:
                raise
            return await self.client.create(LEASES, lease)
