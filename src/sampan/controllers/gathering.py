"""Looks that cost much are fewer: what happens meanwhile is gathered for one.

A look at an object that chooses thousands of others (the Service of 5,000 pods) is at all of them, and each of them calls for
one: while they come, that would be a cost by the square of their number. So the next look waits until the last one was a
fifth of the time since; a look that costs little is never waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

CHEAP_SECONDS = 0.03
"""What a look at five hundred objects takes, with what is written of it: those of fewer are as prompt as ever, on a loaded
machine too."""
REST = 4.0
"""How many times as long as it took nothing is looked at."""

Result = TypeVar("Result")


class Gathering:
    """When the keys of a controller may be looked at again."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}

    async def look(self, key: str, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what a look comes to, and note what it costs."""
        timed = Timed(work)
        try:
            return await timed
        finally:
            if timed.seconds > CHEAP_SECONDS:
                self._free[key] = asyncio.get_running_loop().time() + REST * timed.seconds
            else:
                self._free.pop(key, None)

    def pause(self, key: str) -> float:
        """Return the seconds until the next look; not positive: now."""
        free = self._free.get(key)
        return 0.0 if free is None else free - asyncio.get_running_loop().time()

    def forget(self, key: str) -> None:
        self._free.pop(key, None)


class Timed(Generic[Result]):
    """A coroutine to be awaited once; ``seconds`` is for how long it kept others from the loop, not what it waited for: on a
    loaded machine that is longer, as everything is."""

    def __init__(self, work: Coroutine[Any, Any, Result]) -> None:
        self._work = work
        self.seconds = 0.0

    def __await__(self) -> Generator[Any, Any, Result]:
        error: BaseException | None = None
        while True:
            begun = time.perf_counter()
            try:
                waits_for = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as end:
                result: Result = end.value
                return result
            finally:
                self.seconds += time.perf_counter() - begun
            error = None
            try:
                yield waits_for
            except BaseException as thrown:  # it is the work's own
                error = thrown
