"""Wait for what the system under test brings about by itself."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable

NOT_YET = (OSError, http.client.HTTPException)
"""Who is not there yet refuses connections, has no file, is no process."""


def eventually(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Return once ``holds``. Patience costs nothing where all is well, and a machine may be slow."""
    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while True:
        try:
            if holds():
                return
            error = None
        except NOT_YET as raised:
            error = raised
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what}") from error
        time.sleep(0.05)


async def eventually_async(what: str, holds: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """The same for who waits meanwhile."""
    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while True:
        try:
            if await holds():
                return
            error = None
        except NOT_YET as raised:
            error = raised
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what}") from error
        await asyncio.sleep(0.05)
