"""Replicas: the slices of those that nobody hears of are taken away, those of the living stay."""

from __future__ import annotations

import asyncio

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import ENDPOINT_SLICES
from sampan.gateway.replicas import LABEL, Replica, alive, bury, leave


def slice_of(replica: str, gateway_class: str = "sampan") -> dict[str, object]:
    labels = Replica(replica, "", gateway_class=gateway_class).labels
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"front-{replica}", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    }


async def test_slices_of_the_dead_are_taken_away(local_api: Api) -> None:
    client = LocalClient(local_api, User("admin", ("system:masters",)))
    ours, other = (Replica(name, "192.0.2.1", "default", lease_seconds=1.5) for name in ("ours", "other"))
    await client.create(ENDPOINT_SLICES, slice_of("of-another-class", "edge"))
    for name in ("ours", "other", "dead"):
        await client.create(ENDPOINT_SLICES, slice_of(name))

    async def there() -> set[str]:
        return {one["metadata"]["labels"][LABEL] for one in (await client.list(ENDPOINT_SLICES)).items
                if LABEL in (one["metadata"].get("labels") or {})}  # fmt: skip

    async def gone(replica: str) -> None:
        async for event in client.watch(ENDPOINT_SLICES, "default"):
            if event.type == "DELETED" and event.object["metadata"]["name"] == f"front-{replica}":
                return

    tasks = [asyncio.ensure_future(work) for work in (alive(client, other), bury(client, ours))]
    try:
        async with asyncio.timeout(60):
            await gone("dead")
            tasks[0].cancel()
            assert await there() == {"ours", "other", "of-another-class"}
            await gone("other")
        await leave(client, ours)
        assert await there() == {"of-another-class"}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
