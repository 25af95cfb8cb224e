"""Calls that wait for their turn: the lowest rank first, none lost when one that waits is given up."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sampan.node.turns import Turns


async def test_the_nearest_to_its_end_goes_first() -> None:
    turns, order = Turns(1), list[str]()

    async def call(name: str, rank: int) -> None:
        async with turns.take(rank):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name, rank in (("first", 9), ("sandbox", 2), ("start", 0), ("create", 1), ("another start", 0)):
            group.create_task(call(name, rank))
    assert order == ["first", "start", "another start", "create", "sandbox"]


@given(
    at_once=st.integers(1, 3),
    calls=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 6)), max_size=12),
)
def test_never_too_many_and_never_stuck(at_once: int, calls: list[tuple[int, int, int]]) -> None:
    """Calls of ``(rank, how long, when it is given up: 0 never)``."""

    async def run() -> None:
        turns, now, most, done = Turns(at_once), 0, 0, 0

        async def call(rank: int, long: int) -> None:
            nonlocal now, most, done
            async with turns.take(rank):
                now += 1
                most = max(most, now)
                try:
                    for _ in range(long):
                        await asyncio.sleep(0)
                finally:
                    now -= 1
            done += 1

        tasks = [asyncio.create_task(call(rank, long)) for rank, long, _ in calls]
        for tick in range(1, 8):
            await asyncio.sleep(0)
            for task, (_, _, given_up) in zip(tasks, calls, strict=True):
                if given_up == tick:
                    task.cancel()
        async with asyncio.timeout(60):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= at_once and done == sum(result is None for result in results)
        async with asyncio.timeout(60):
            await asyncio.gather(*(call(0, 1) for _ in range(at_once)))
        assert now == 0

    asyncio.run(run())
