"""A scheduler on the real in-process API, and profiles over clusters that are no API's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import NODES, PODS
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.configuration import Configuration, ProfileSpec, build
from sampan.scheduler.framework import Handle
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.profile import Profile
from sampan.scheduler.scheduler import Scheduler
from sampan.schema.objects import Object

ADMIN = User("admin", ("system:masters", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", ("system:authenticated",))
"""What its ClusterRole allows must do."""


class Setting:
    """A scheduler at work, with its client and what it sees."""

    def __init__(self, client: LocalClient, pods: Informer, scheduler: Scheduler) -> None:
        self.client, self.pods, self.scheduler = client, pods, scheduler

    async def add_node(self, obj: Object) -> None:
        made = await self.client.create(NODES, obj)
        # a new node is tainted as not ready; the node lifecycle, which would see that it is, does not run here
        made = await self.client.update(NODES, {**made, "spec": obj.get("spec", {})})
        await self.client.update(NODES, {**made, "status": obj["status"]}, subresource="status")

    async def until(self, name: str, true: Callable[[Object], Any]) -> Object:
        seen = asyncio.Event()
        self.pods.add_handler(lambda change, old, new: seen.set() if new["metadata"]["name"] == name else None)
        try:
            async with asyncio.timeout(60):
                while not ((found := self.pods.get(f"default/{name}")) and true(found)):
                    seen.clear()
                    await seen.wait()
        except TimeoutError:
            raise AssertionError(f"pod {name}: {self.pods.get(f'default/{name}')}") from None
        return found


Start = Callable[..., Setting]


@pytest.fixture
async def start(local_api: Api) -> AsyncIterator[Start]:
    """Start a scheduler: ``start(configuration)``."""
    client = LocalClient(local_api, ADMIN)
    own = LocalClient(local_api, SCHEDULER)
    tasks: list[asyncio.Task[None]] = []
    informers: dict[ResourceType, Informer] = {}

    def informer_of(resource: ResourceType) -> Informer:
        if resource not in informers:
            informers[resource] = Informer(own, resource)
            tasks.append(asyncio.create_task(informers[resource].run()))
        return informers[resource]

    def begin(configuration: Configuration | None = None) -> Setting:
        events = EventRecorder(own, "default-scheduler")
        scheduler = Scheduler(own, informer_of, events, configuration)
        tasks.extend(asyncio.create_task(part.run()) for part in (events, scheduler))
        return Setting(client, informers[PODS], scheduler)

    yield begin
    failed = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not failed, results


@pytest.fixture
async def setting(start: Start) -> Setting:
    return start()


ProfileOn = Callable[..., Profile]


@pytest.fixture
def profile_on() -> ProfileOn:
    """Make a profile over a cluster that is no API's: its informers stay empty."""

    def make(
        cluster: ClusterState,
        version: tuple[int, int] = (1, 37),
        spec: ProfileSpec | None = None,
        *,
        nominations: Nominations | None = None,
        started: list[Any] | None = None,
    ) -> Profile:
        client: Any = SimpleNamespace(streams_lists=False)

        def start(work: Any, name: str) -> None:
            if started is not None:
                started.append(name)
            work.close()

        handle = Handle(
            client=client,
            informer_of=lambda resource: Informer(client, resource),
            events=EventRecorder(client, "default-scheduler"),
            cluster=cluster,
            nominations=Nominations() if nominations is None else nominations,
            start=start,
            activate=lambda key: None,
            released=lambda key: None,
            kubernetes_version=version,
        )
        return build(spec or ProfileSpec(), Configuration(), handle)

    return make
