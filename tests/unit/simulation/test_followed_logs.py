"""Following the log of a simulated pod: every line once, nothing of other pods, an end with the container."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.node.log_stream import LogOptions
from sampan.simulation.logs import LogBook

POD: dict[str, Any] = {"metadata": {"namespace": "d", "name": "p", "uid": "u"}, "status": {}}
FOLLOW = LogOptions(follow=True)


async def test_a_line_of_another_pod_does_not_end_it() -> None:
    book = LogBook()
    log = book.follow(POD, "main", FOLLOW, lambda: False)
    assert (await anext(log)).startswith(b"simulated container main")
    following = asyncio.ensure_future(anext(log))
    await asyncio.sleep(0)
    book.write("d/other", "o", "elsewhere")
    book.write("d/p", "u", "here")
    assert await following == b"here\n"


async def test_a_line_that_comes_while_another_goes_out_is_not_missed() -> None:
    book = LogBook()
    log = book.follow(POD, "main", FOLLOW, lambda: False)
    await anext(log)
    book.write("d/p", "u", "one\ntwo")
    assert await asyncio.wait_for(anext(log), 60) == b"one\n"
    book.write("d/p", "u", "three")
    assert [await asyncio.wait_for(anext(log), 60) for _ in range(2)] == [b"two\n", b"three\n"]


async def test_what_was_before_the_tail_stays_out() -> None:
    book = LogBook()
    book.write("d/p", "u", "before")
    log = book.follow(POD, "main", LogOptions(follow=True, tail_lines=0), lambda: False)
    following = asyncio.ensure_future(anext(log))
    await asyncio.sleep(0)
    book.write("d/p", "u", "after")
    assert await asyncio.wait_for(following, 60) == b"after\n"


async def test_it_ends_with_a_container_that_never_said_anything() -> None:
    book = LogBook()
    gone = False
    log = book.follow(POD, "main", FOLLOW, lambda: gone)
    await anext(log)
    following = asyncio.ensure_future(anext(log, b"the end"))
    await asyncio.sleep(0)
    gone = True
    book.tell("d/p")
    assert await asyncio.wait_for(following, 60) == b"the end"
