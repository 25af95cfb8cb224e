"""The leases of simulated nodes: one renewal an interval, however often a node of that name came and went."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.resources import LEASES, NAMESPACES, NODES
from sampan.simulation.heartbeats import Heartbeats
from sampan.simulation.nodes import node_object


class Counting:
    """A client that counts renewals."""

    streams_lists = False

    def __init__(self) -> None:
        self.renewals = 0
        self.some = asyncio.Event()

    async def patch(self, resource: Any, name: str, patch: Any, namespace: str) -> Any:
        self.renewals += 1
        self.some.set()
        return patch


async def test_a_node_that_is_made_anew_is_renewed_once() -> None:
    client: Any = Counting()
    informer = Informer(client, NODES)
    heartbeats = Heartbeats(client, informer, set())
    running = asyncio.ensure_future(heartbeats.run())
    for _ in range(3):
        client.some.clear()
        informer.take(node_object("n"))
        await asyncio.wait_for(client.some.wait(), 60)
        informer.forget(node_object("n"))
    informer.take(node_object("n"))
    client.some.clear()
    await asyncio.wait_for(client.some.wait(), 60)
    for _ in range(10):
        await asyncio.sleep(0)  # it notes when the next one is due
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert client.renewals == 4
    assert sum(heartbeats._known.get(name) == number for _, number, name in heartbeats._heap) == 1


async def test_a_lease_is_renewed_whoever_wrote_it_last(local_api: Api) -> None:
    """Kubernetes takes no update of a Lease without its resourceVersion."""
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))
    with contextlib.suppress(ApiError):
        await client.create(NAMESPACES, {"metadata": {"name": "kube-node-lease"}})
    informer = Informer(client, NODES)
    informer.take(await client.create(NODES, node_object("n")))
    heartbeats = Heartbeats(client, informer, set())

    async def renewed() -> str:
        await heartbeats._renew("n")
        return str((await client.get(LEASES, "n", "kube-node-lease"))["metadata"]["resourceVersion"])

    seen = [await renewed(), await renewed(), await renewed()]
    await client.patch(LEASES, "n", {"metadata": {"labels": {"a": "b"}}}, "kube-node-lease")
    seen.append(await renewed())
    await client.delete(LEASES, "n", "kube-node-lease")
    seen += [await renewed(), await renewed()]
    assert len({*seen}) == 6 and sorted(map(int, seen)) == [int(each) for each in seen]
