"""A cluster in the test's own process: the API, all controllers, the scheduler and a simulated node."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.resource_metrics import serving as resource_metrics
from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS
from sampan.controllers.autoscaling_replicas import Startup
from sampan.controllers.builtin import ControllersConfig, EventsOf, Informers, Runs, local_provisioning, run
from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig
from sampan.scheduler.scheduler import Scheduler
from sampan.schema.objects import Object
from sampan.simulation.simulation import Simulation, SimulationConfig

ROOT_CA = "-----BEGIN CERTIFICATE-----\nthe cluster's\n-----END CERTIFICATE-----\n"
PATIENCE_SECONDS = 60


@dataclass
class Cluster:
    client: LocalClient
    task: asyncio.Task[None]

    async def until(
        self, resource: ResourceType, name: str, true: Callable[[Object], Any], namespace: str | None = "default"
    ) -> Object:
        """Return the object as soon as ``true`` holds for it."""
        last: Object | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                start = (await self.client.list(resource, namespace)).resource_version
                try:
                    last = await self.client.get(resource, name, namespace)
                    if true(last):
                        return last
                except ApiError as error:
                    assert error.is_not_found
                async for event in self.client.watch(resource, namespace, resource_version=start):
                    if event.object["metadata"].get("name") == name and event.type != "DELETED":
                        last = event.object
                        if true(last):
                            return last
        except TimeoutError:
            self.raise_failure()
            raise AssertionError(f"{resource.plural} {name} did not become so; it is {last}") from None
        raise AssertionError("the watch ended")

    async def gone(self, resource: ResourceType, name: str, namespace: str | None = "default") -> None:
        """Return when the object does not exist."""
        last: Object | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                start = (await self.client.list(resource, namespace)).resource_version
                try:
                    last = await self.client.get(resource, name, namespace)
                except ApiError as error:
                    assert error.is_not_found
                    return
                async for event in self.client.watch(resource, namespace, resource_version=start):
                    if event.object["metadata"].get("name") == name:
                        last = event.object
                        if event.type == "DELETED":
                            return
        except TimeoutError:
            self.raise_failure()
            raise AssertionError(f"{resource.plural} {name} did not go; it is {last}") from None

    async def until_all(self, resource: ResourceType, true: Callable[[list[Object]], Any]) -> list[Object]:
        """Return the objects of the namespace ``default`` as soon as ``true`` holds for all of them together."""
        found = await self.client.list(resource, "default")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if true(found.items):
                    return found.items
                async for _ in self.client.watch(resource, "default", resource_version=found.resource_version):
                    found = await self.client.list(resource, "default")
                    if true(found.items):
                        return found.items
        except TimeoutError:
            self.raise_failure()
            raise AssertionError(f"{resource.plural} did not become so: {found.items}") from None
        raise AssertionError("the watch ended")

    def raise_failure(self) -> None:
        if self.task.done():
            self.task.result()

    async def pods(self, app: str) -> list[Object]:
        return (await self.client.list(PODS, "default", label_selector=f"app={app}")).items

    async def replica_sets(self, app: str) -> list[Object]:
        return (await self.client.list(REPLICA_SETS, "default", label_selector=f"app={app}")).items

    async def event(self, reason: str) -> Object:
        """Return the first event with a reason."""
        return next(
            event
            for event in await self.until_all(EVENTS, lambda events: any(e["reason"] == reason for e in events))
            if event["reason"] == reason
        )

    async def deploy(self, name: str, replicas: int = 3, **spec: Any) -> Object:
        return await self.client.create(DEPLOYMENTS, deployment(name, replicas, **spec))

    async def rolled_out(self, name: str) -> Object:
        def done(obj: Object) -> bool:
            status, wanted = obj.get("status", {}), obj["spec"]["replicas"]
            counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
            return status.get("observedGeneration") == obj["metadata"]["generation"] and counts == [wanted] * 3

        return await self.until(DEPLOYMENTS, name, done)


def deployment(name: str, replicas: int = 3, **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


@pytest.fixture
async def cluster(local_api: Api, throwaway_pki: Path) -> AsyncIterator[Cluster]:
    def client_for(name: str) -> Client:
        return LocalClient(local_api, User(f"system:{name}", ("system:masters", "system:authenticated")))

    def beside(client_for: Callable[[str], Client], informers: Informers, events_of: EventsOf) -> list[Runs]:
        scheduler = Scheduler(client_for("kube-scheduler"), informers.of, events_of("default-scheduler"))
        simulated = SimulationConfig(("sim",))
        simulation = Simulation(client_for("simulation"), informers.of, events_of("kubelet"), simulated)
        local_api.kubelet_of = simulation.kubelet_of
        return [scheduler, simulation, *local_provisioning(client_for, informers, events_of, None, None)]

    resource_metrics.add(local_api)

    often = AutoscalerConfig(sync_seconds=0.05, startup=Startup(cpu_initialization_seconds=0))
    config = ControllersConfig(ROOT_CA, often, throwaway_pki, "10.96.0.0/18", api_server="https://127.0.0.1:6443")
    task = asyncio.create_task(run(client_for, config, beside))
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))
    yield Cluster(client, task)
    ended = task.done()
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    assert not ended, results


MODULES = tuple(f"sampan.{room}." for room in ("api", "client", "controllers", "scheduler", "schema", "simulation"))


class Clock:
    """The host's clock; ``jump`` sets it."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def jump(self, seconds: float) -> None:
        self.ahead_seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock, real = Clock(), time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=clock.ahead_seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith(MODULES) and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: real() + clock.ahead_seconds)
    yield clock
