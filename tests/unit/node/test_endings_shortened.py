"""The time a pod has to end, and what a second deletion with less of it does."""

from __future__ import annotations

import asyncio

from sampan.node.stopping import Ending


class Container:
    """One that ignores SIGTERM: a stop ends it when its seconds are over, whichever stop that is."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def stop(self, seconds: int) -> None:
        self.asked.append(seconds)
        self.begun.set()
        if seconds == 0:
            self.ended.set()
        await self.ended.wait()


async def test_less_grace_stops_a_container_again_at_once() -> None:
    container, ending = Container(), Ending(1000)
    stopping = asyncio.create_task(ending.again_when_shortened(container.stop))
    await container.begun.wait()
    ending.shorten(500)
    ending.shorten(0)
    await asyncio.wait_for(stopping, 60)
    assert container.asked[0] in (999, 1000) and container.asked[-1] == 0


async def test_more_grace_changes_nothing() -> None:
    ending = Ending(5)
    ending.shorten(30)
    assert ending.left <= 5


async def test_a_hook_has_what_is_left() -> None:
    async def hook() -> str:
        await asyncio.sleep(1000)
        return "done"

    ending = Ending(1000)
    waiting = asyncio.create_task(ending.within(asyncio.create_task(hook())))
    await asyncio.sleep(0)
    ending.shorten(0)
    assert await asyncio.wait_for(waiting, 60) is None

    async def quick() -> str:
        return "done"

    assert await Ending(1000).within(asyncio.create_task(quick())) == "done"
    assert await Ending(0).within(asyncio.create_task(hook())) is None
