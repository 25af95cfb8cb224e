"""Looks that cost much are fewer, and are counted by what they cost themselves."""

from __future__ import annotations

import asyncio

import pytest

from sampan.controllers import gathering
from sampan.controllers.gathering import REST, Gathering, Timed


class Processor:
    """A clock that goes on while somebody works (``spend``)."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    made = Processor()
    monkeypatch.setattr(gathering, "time", made)
    return made


async def test_only_what_it_does_itself_counts_for_a_look(processor: Processor) -> None:
    async def work() -> str:
        processor.spend(2)
        await asyncio.sleep(0)
        processor.spend(3)
        return "done"

    async def others() -> None:
        processor.spend(50)

    timed, task = Timed(work()), asyncio.ensure_future(others())
    assert await timed == "done"
    await task
    assert timed.seconds == 5


async def test_errors_and_cancellation_reach_the_work() -> None:
    seen: list[str] = []

    async def work(event: asyncio.Event) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        raise ValueError("of the work")

    event = asyncio.Event()
    event.set()
    with pytest.raises(ValueError, match="of the work"):
        await Timed(work(event))
    task = asyncio.ensure_future(Gathering().look("k", work(asyncio.Event())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_a_look_that_costs_little_is_not_waited_for_and_one_that_costs_much_is(
    processor: Processor,
) -> None:
    known = Gathering()

    async def look(seconds: float) -> None:
        processor.spend(seconds)

    await known.look("small", look(0.001))
    assert known.pause("small") == 0.0 == known.pause("never")
    await known.look("large", look(10_000))
    assert 9_000 * REST < known.pause("large") <= 10_001 * REST
    known.forget("large")
    assert known.pause("large") == 0.0
    await known.look("large", look(10_000))
    await known.look("large", look(0.001))
    assert known.pause("large") == 0.0, "it has become cheap"
