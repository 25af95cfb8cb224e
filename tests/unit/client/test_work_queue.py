"""The work queue: each key once, never twice at a time, delays by one timer."""

from __future__ import annotations

import asyncio

from sampan.client.workqueue import WorkQueue


async def test_a_key_waits_only_once() -> None:
    queue = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_handled_comes_again_after_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_the_earliest_of_several_delays_counts() -> None:
    queue = WorkQueue()
    loop = asyncio.get_running_loop()
    start = loop.time()
    queue.add_after("a", 30)
    queue.add_after("b", 0.05)
    queue.add_after("a", 0.01)
    assert await asyncio.wait_for(queue.get(), 60) == "a"
    assert await asyncio.wait_for(queue.get(), 60) == "b"
    assert loop.time() - start > 0.045
    assert not queue._due


async def test_failures_back_off_and_success_forgets_them() -> None:
    queue = WorkQueue()
    assert [queue.retry("a") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    queue.forget("a")
    assert queue.retry("a") == 0.005
    for _ in range(60):
        longest = queue.retry("b")
    assert longest == 60


async def test_a_cancelled_getter_loses_no_key() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await asyncio.wait_for(queue.get(), 60) == "a"


async def test_every_waiting_worker_gets_a_key() -> None:
    queue = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in ("a", "b", "c"):
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*workers), 60)) == ["a", "b", "c"]


async def test_keys_that_wait_are_hurried_when_the_clock_was_set() -> None:
    queue = WorkQueue()
    queue.add_after("later", 3600)
    queue.add_after("sooner", 60)
    queue.hurry()
    assert {await queue.get(), await queue.get()} == {"later", "sooner"}
    assert not len(queue)
