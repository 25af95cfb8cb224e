"""Who is tried when: by importance and age, after pauses, and when something happened that matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sampan.client.resources import NODES, PODS
from sampan.scheduler.framework import ADD, DELETE, Interest, Status, interest, unresolvable
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.queue import SchedulingQueue
from sampan.schema.objects import Object
from tests.unit.scheduler.made import node, pod


def queue_of(
    interests: dict[str, tuple[Interest, ...]] | None = None,
    gate: Callable[[PodInfo], Status | None] = lambda pod: None,
    pauses: tuple[float, float] = (0.01, 0.04),
) -> SchedulingQueue:
    return SchedulingQueue(gate, interests or {"Fit": (interest(NODES, ADD),)}, pauses)


async def test_the_more_important_and_then_the_older_come_first() -> None:
    queue = queue_of()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(PodInfo(pod(name, priority=priority)))
    assert [(await queue.pop()).pod.name for _ in range(4)] == ["b", "d", "a", "c"]


async def test_a_refused_pod_waits_for_what_matters_to_who_refused_it() -> None:
    def larger(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
        return new is not None and new["metadata"]["name"] == "large"

    queue = queue_of({"Fit": (interest(NODES, ADD, hint=larger),), "Ports": (interest(PODS, DELETE),)})
    queue.add(PodInfo(pod("a")))
    queued = await queue.pop()
    queue.refused(queued, {"Fit"})
    assert queue.counts()["unschedulable"] == 1 and queue.refusals() == {"Fit": 1}
    queue.event(PODS, DELETE, pod("x"), None)
    queue.event(NODES, ADD, None, node("small"))
    assert queue.counts()["unschedulable"] == 1
    queue.event(NODES, ADD, None, node("large"))
    assert queue.counts()["unschedulable"] == 0
    async with asyncio.timeout(60):
        assert (await queue.pop()) is queued and queued.attempts == 2


async def test_a_pausing_pod_is_taken_when_nothing_else_waits() -> None:
    queue = queue_of(pauses=(1000.0, 1000.0))
    queue.add(PodInfo(pod("a")))
    queue.refused(await queue.pop(), {"Fit"})
    queue.event(NODES, ADD, None, node("n"))
    assert queue.counts()["backoff"] == 1
    queue.add(PodInfo(pod("b")))
    async with asyncio.timeout(60):
        assert (await queue.pop()).pod.name == "b", "what is active comes first"
        assert (await queue.pop()).pod.name == "a"


async def test_an_error_holds_a_pod_back_for_its_pause() -> None:
    queue = queue_of(pauses=(0.01, 0.04))
    queue.add(PodInfo(pod("a")))
    pauses = []
    for _ in range(4):
        async with asyncio.timeout(60):
            queued = await queue.pop()
        queue.failed(queued)
        assert queue.counts()["backoff"] == 1
        pauses.append(queue.pause_seconds(queued))
    assert pauses == [0.01, 0.02, 0.04, 0.04]


async def test_a_gate_holds_back_until_the_pod_changes() -> None:
    closed = {"a"}

    def gate(pod: PodInfo) -> Status | None:
        return unresolvable("gated")._replace(plugin="Gate") if pod.name in closed else None

    queue = queue_of({"Gate": ()}, gate)
    queue.add(PodInfo(pod("a")))
    assert queue.counts()["gated"] == 1
    queue.activate("ns/a")
    assert queue.counts()["gated"] == 1
    closed.clear()
    queue.add(PodInfo(pod("a", labels={"x": "y"})))
    assert (await queue.pop()).pod.labels == {"x": "y"}


async def test_a_pod_that_changes_itself_is_tried_again_and_one_that_goes_is_forgotten() -> None:
    queue = queue_of()
    queue.add(PodInfo(pod("a", nodeSelector={"disk": "ssd"})))
    queued = await queue.pop()
    queue.refused(queued, {"Fit"})
    status: Any = {"status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}}
    queue.add(PodInfo({**pod("a", nodeSelector={"disk": "ssd"}), **status}))
    assert queue.counts()["unschedulable"] == 1, "what we said of it is no change"
    queue.add(PodInfo(pod("a")))
    assert queue.counts()["unschedulable"] == 0
    queue.delete("ns/a")
    queue.refused(queued, {"Fit"})
    assert sum(queue.counts().values()) == 0


async def test_one_made_anew_under_the_same_name_is_another() -> None:
    queue = queue_of()
    queue.add(PodInfo(pod("a")))
    queued = await queue.pop()
    other = pod("a")
    other["metadata"]["uid"] = "other"
    queue.add(PodInfo(other))
    queue.refused(queued, {"Fit"})
    assert (await queue.pop()).pod.uid == "other"


async def test_a_refusal_that_is_out_of_date_is_no_reason_to_wait() -> None:
    queue = queue_of({"Fit": (interest(NODES, ADD),), "Ports": (interest(PODS, DELETE),)}, pauses=(1000.0, 1000.0))
    queue.add(PodInfo(pod("a")))
    queued = await queue.pop()
    for happened, where in ((lambda: queue.event(PODS, DELETE, pod("x"), None), "unschedulable"),
                            (lambda: queue.event(NODES, ADD, None, node("n")), "backoff"),
                            (lambda: queue.add(PodInfo(pod("a", labels={"new": "label"}))), "backoff")):  # fmt: skip
        with queue.meanwhile("ns/a"):
            happened()
            queue.refused(queued, {"Fit"})
        assert queued.where == where
        queue.activate("ns/a")
        assert await queue.pop() is queued
