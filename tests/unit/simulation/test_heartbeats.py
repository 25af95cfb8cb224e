"""The leases of simulated nodes: one renewal an interval, however often a node of that name came and went."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sampan.client.informer import Informer
from sampan.client.resources import NODES
from sampan.simulation.heartbeats import Heartbeats
from sampan.simulation.nodes import node_object


class Counting:
    """A client that counts renewals."""

    streams_lists = False

    def __init__(self) -> None:
        self.renewals = 0
        self.some = asyncio.Event()

    async def update(self, resource: Any, obj: Any) -> Any:
        self.renewals += 1
        self.some.set()
        return obj


async def test_a_node_that_is_made_anew_is_renewed_once() -> None:
    client: Any = Counting()
    informer = Informer(client, NODES)
    heartbeats = Heartbeats(client, informer, set())
    running = asyncio.ensure_future(heartbeats.run())
    for _ in range(3):
        client.some.clear()
        informer.take(node_object("n"))
        await asyncio.wait_for(client.some.wait(), 5)
        informer.forget(node_object("n"))
    informer.take(node_object("n"))
    client.some.clear()
    await asyncio.wait_for(client.some.wait(), 5)
    for _ in range(10):
        await asyncio.sleep(0)  # it notes when the next one is due
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert client.renewals == 4
    assert sum(heartbeats._known.get(name) == number for _, number, name in heartbeats._heap) == 1
