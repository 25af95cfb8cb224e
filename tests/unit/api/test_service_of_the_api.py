"""The Service of the API itself, by which pods find it: it comes back when it is deleted."""

from __future__ import annotations

import asyncio

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import SERVICES

ADMIN = User("admin", ("system:masters", "system:authenticated"))


async def test_the_service_kubernetes_is_made_again(local_api: Api) -> None:
    client = LocalClient(local_api, ADMIN)
    before = await client.get(SERVICES, "kubernetes", "default")
    start = (await client.list(SERVICES, "default")).resource_version
    await client.delete(SERVICES, "kubernetes", "default")
    async with asyncio.timeout(60):
        async for event in client.watch(SERVICES, "default", resource_version=start):
            if event.type == "ADDED":
                assert event.object["spec"] == before["spec"]
                assert event.object["metadata"]["uid"] != before["metadata"]["uid"]
                break
    other = {"metadata": {"name": "other"}, "spec": {"ports": [{"port": 80}]}}
    made = await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **other}, "default")
    assert made["spec"]["clusterIP"] != before["spec"]["clusterIP"]  # its address was not given away meanwhile
