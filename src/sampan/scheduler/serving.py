"""The scheduler by itself, on any Kubernetes: informers over HTTP, and a Lease that says which of several works.

Flow: a kubeconfig's connection and a configuration go in; until cancelled, the scheduler works while it leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.kubeconfig import Connection
from sampan.client.leases import Elector, LeaseConfig, LostLease
from sampan.client.protocol import Client, ResourceType
from sampan.scheduler.configuration import Configuration
from sampan.scheduler.scheduler import Scheduler

logger = logging.getLogger("sampan.scheduler")


async def serve(connection: Connection, configuration: Configuration) -> None:
    """Schedule pods of the cluster until cancelled. Raises ``ApiError`` or ``OSError`` when it cannot be reached at the
    start."""
    from sampan.client.http import HttpClient

    client = HttpClient(connection, agent="sampan-scheduler")
    try:
        version = await version_of(client)
        election = configuration.election
        if not election.lead:
            await run(client, configuration, version)
            return
        lease = LeaseConfig(
            election.name,
            f"{socket.gethostname()}_{os.getpid()}",
            election.namespace,
            election.lease_seconds,
            election.renew_seconds,
            election.retry_seconds,
        )
        elector = Elector(client, lease)
        while True:
            with contextlib.suppress(LostLease):
                await elector.run(lambda: run(client, configuration, version))
    finally:
        await client.close()


async def run(client: Client, configuration: Configuration, version: tuple[int, int]) -> None:
    """Run one scheduler with informers of its own."""
    informers: dict[ResourceType, Informer] = {}
    events = EventRecorder(client, Scheduler.name)
    async with asyncio.TaskGroup() as group:

        def informer_of(resource: ResourceType) -> Informer:
            if resource not in informers:
                informers[resource] = Informer(client, resource)
                group.create_task(informers[resource].run(), name=f"informer-{resource.plural}")
            return informers[resource]

        scheduler = Scheduler(client, informer_of, events, configuration, version)
        group.create_task(events.run(), name="events")
        group.create_task(scheduler.run(), name=scheduler.name)


async def version_of(client: Client) -> tuple[int, int]:
    """Return the version of the cluster: some of what the scheduler says depends on it."""
    status, body = await client.raw("GET", "/version")
    if status != 200:
        raise ApiError(status, {"message": f"/version answers {status}"})
    found = json.loads(body)
    return int(found["major"]), int(found["minor"].rstrip("+"))
