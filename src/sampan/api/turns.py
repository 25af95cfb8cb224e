"""Long work, done so that every other request gets its turn meanwhile: the event loop is everybody's.

``in_turns`` does the work of a long list some milliseconds at a time. ``beside`` has what cannot be cut in pieces (the
judging of one very large object) done by a thread: it shares the interpreter with the loop, which has it back every few
milliseconds. Small work is done at once and costs neither. What is called must be pure: nothing but its arguments changes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
TURN_SECONDS = 0.01
LOOKS = 16
"""The clock is looked at after so many values."""
LARGE_BODY_BYTES = 64 * 1024
"""What a request with a larger body asks for is done beside the loop: 64 KiB take it about 20 ms."""


async def in_turns(work: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Return what ``work`` makes of each value."""
    made: list[R] = []
    begun = perf_counter()
    for value in values:
        made.append(work(value))
        if not len(made) % LOOKS and perf_counter() - begun > TURN_SECONDS:
            await asyncio.sleep(0)
            begun = perf_counter()
    return made


class Threads:
    """One thread of a name in each process: a fork has none of its parent's, and would wait for it for ever."""

    def __init__(self, name: str) -> None:
        self._name, self._pid = name, 0
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        if self._executor is None or self._pid != os.getpid():
            self._executor, self._pid = ThreadPoolExecutor(1, self._name), os.getpid()
        return self._executor


large = Threads("sampan-large")


async def beside(work: Callable[..., R], *arguments: Any) -> R:
    """Return what a thread makes of ``work``; one at a time, so that the loop has half of the interpreter at least."""
    return await asyncio.get_running_loop().run_in_executor(large.executor(), work, *arguments)
