"""The reconcile loop and the event recorder, on the in-process API."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.controller import Controller
from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.resources import CONFIG_MAPS, EVENTS
from sampan.schema.objects import Object

ADMIN = User("admin", ("system:masters", "system:authenticated"))


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


class Greeter(Controller):
    name = "greeter"

    def __init__(self, client: LocalClient, config_maps: Informer) -> None:
        super().__init__(client)
        self.config_maps = config_maps
        self.calls: list[str] = []
        self.outcomes: list[Any] = []
        self.called = asyncio.Event()
        self.watch(config_maps)

    async def reconcile(self, key: str) -> float | None:
        self.calls.append(key)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if not self.outcomes:
            self.called.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]


async def test_failures_are_tried_again_and_told_once(local_api: Api, caplog: pytest.LogCaptureFixture) -> None:
    client = LocalClient(local_api, ADMIN)
    informer = Informer(client, CONFIG_MAPS, "default", field_selector="metadata.name=one")
    greeter = Greeter(client, informer)
    greeter.outcomes = [ValueError("no"), ValueError("no"), 0.01, None]
    tasks = [asyncio.create_task(informer.run()), asyncio.create_task(greeter.run())]
    with caplog.at_level(logging.ERROR):
        await client.create(CONFIG_MAPS, config_map("one"))
        await asyncio.wait_for(greeter.called.wait(), 60)
    assert greeter.calls == ["default/one"] * 4
    assert [record.getMessage() for record in caplog.records] == ["default/one: ValueError: no"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Slow(Controller):
    name = "slow"
    workers = 3

    def __init__(self, client: LocalClient) -> None:
        super().__init__(client)
        self.under_way: set[str] = set()
        self.most, self.handled = 0, 0
        self.may_end, self.full = asyncio.Event(), asyncio.Event()

    async def reconcile(self, key: str) -> float | None:
        self.under_way.add(key)
        self.most = max(self.most, len(self.under_way))
        if len(self.under_way) == self.workers:
            self.full.set()
        await self.may_end.wait()
        self.under_way.discard(key)
        self.handled += 1
        return None


def workers_of(controller: Controller) -> int:
    return sum(task.get_name() == controller.name for task in asyncio.all_tasks())


async def test_there_are_as_many_workers_as_there_is_work(local_api: Api) -> None:
    slow = Slow(LocalClient(local_api, ADMIN))
    running = asyncio.create_task(slow.run(), name="run")
    async with asyncio.timeout(60):
        for round in (1, 2):
            for number in range(7):
                slow.queue.add(f"default/{number}")
            await slow.full.wait()
            assert workers_of(slow) == 3
            slow.may_end.set()
            while slow.handled < 7 * round or workers_of(slow) > 1:  # noqa: ASYNC110  # tasks that end tell nobody
                await asyncio.sleep(0)
            slow.may_end.clear()
            slow.full.clear()
    assert slow.most == 3 and workers_of(slow) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert workers_of(slow) == 0


class Tidy(Controller):
    """Its tidying up fails, whatever the work came to."""

    name = "tidy"

    def __init__(self, client: LocalClient) -> None:
        super().__init__(client)
        self.called = asyncio.Event()

    async def reconcile(self, key: str) -> float | None:
        try:
            self.called.set()
            await asyncio.Event().wait()
        finally:
            raise ApiError(409, {"reason": "Conflict", "message": "somebody was faster"})


async def test_one_that_is_cancelled_ends_although_its_tidying_up_fails(local_api: Api) -> None:
    tidy = Tidy(LocalClient(local_api, ADMIN))
    tidy.queue.add("default/one")
    running = asyncio.create_task(tidy.run())
    await asyncio.wait_for(tidy.called.wait(), 60)
    running.cancel()
    assert await asyncio.wait([running], timeout=60) == ({running}, set())


async def test_repeated_events_are_counted_on_one_object(local_api: Api) -> None:
    client = LocalClient(local_api, ADMIN)
    about = await client.create(CONFIG_MAPS, config_map("one"))
    recorder = EventRecorder(client, "tester", "here")
    task = asyncio.create_task(recorder.run())
    for _ in range(3):
        recorder.warning(about, "Broken", "it is broken", "spec.containers{c}")
    recorder.normal(about, "Mended", "it works")
    async with asyncio.timeout(60):
        async for event in client.watch(EVENTS, "default", resource_version="0"):
            if event.object["reason"] == "Mended":
                break
    events = (await client.list(EVENTS, "default")).items
    broken = next(event for event in events if event["reason"] == "Broken")
    assert broken["count"] == 3
    assert broken["source"] == {"component": "tester", "host": "here"}
    assert broken["involvedObject"]["fieldPath"] == "spec.containers{c}"
    assert broken["involvedObject"]["uid"] == about["metadata"]["uid"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_api_that_is_away_for_a_moment_loses_no_event(local_api: Api) -> None:
    client: Any = LocalClient(local_api, ADMIN)
    about = await client.create(CONFIG_MAPS, config_map("one"))
    recorder = EventRecorder(client, "tester")
    create, failures = client.create, [ApiUnreachable("away")]

    async def unsteady(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return await create(*args, **kwargs)

    client.create = unsteady
    task = asyncio.create_task(recorder.run())
    recorder.normal(about, "Kept", "kept")
    async with asyncio.timeout(60):
        async for event in client.watch(EVENTS, "default", resource_version="0"):
            assert event.object["reason"] == "Kept"
            break
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
