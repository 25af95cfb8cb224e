"""Tasks that speak with the API or the runtime, and must outlive that these are away for a moment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sampan.client.errors import ApiError
from sampan.node.runtime import RuntimeFailure

logger = logging.getLogger("sampan.node")


async def patiently(work: Callable[[], Awaitable[None]], what: str) -> None:
    """Run a task, again after a pause when the API or the runtime is away for a moment."""
    pause = 0.1
    while True:
        begun = time.monotonic()
        try:
            await work()
            return
        except (ApiError, OSError, RuntimeFailure) as error:
            logger.warning("%s: %s", what, error)
        except Exception as error:
            if not type(error).__module__.startswith("aiohttp"):
                raise
            logger.warning("%s: %s", what, error)
        pause = 0.1 if time.monotonic() - begun > 30 else min(pause * 2, 5.0)
        await asyncio.sleep(pause)
