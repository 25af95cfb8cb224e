"""Events wait a moment, so that the writes of what they tell of come first; whoever flushes does not wait for that."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from sampan.client.events import EventRecorder
from sampan.client.protocol import Client
from sampan.schema.objects import Object

POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "1"}}


class Writes:
    def __init__(self) -> None:
        self.made: list[str] = []
        self.patched: list[int] = []
        self.killed = asyncio.Event()

    async def create(self, resource: Any, event: Object, namespace: str) -> None:
        self.made.append(event["reason"])
        if event["reason"] == "Killing":
            self.killed.set()

    async def patch(self, resource: Any, name: str, change: Object, namespace: str) -> None:
        self.patched.append(change["count"])


async def test_events_wait_and_are_flushed_in_their_order() -> None:
    api = Writes()
    recorder = EventRecorder(cast(Client, api), "kubelet")
    task = asyncio.create_task(recorder.run())
    begun = time.monotonic()
    for reason in ("Scheduled", "Started", "Started"):
        recorder.normal(POD, reason, "so it is")
    for _ in range(5):
        await asyncio.sleep(0)
    early = time.monotonic() - begun < 0.2
    assert not (early and api.made), "none is written at once"
    await recorder.flush()
    assert api.made == ["Scheduled", "Started"] and api.patched == [2]
    recorder.normal(POD, "Killing", "so it is")
    async with asyncio.timeout(60):
        await api.killed.wait()
    task.cancel()
