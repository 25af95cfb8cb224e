"""Faults of ours: what may be said of one and logged (its message may have a record's secrets, its place has none)."""

from __future__ import annotations

import asyncio
import traceback


def place_of(error: BaseException) -> str:
    """Return the kind of an exception and where it was raised; of a group, of the first in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


def is_our_end(error: BaseException) -> bool:
    """Whether somebody wants this task to end; else it is the affair of what it does that something in that was cancelled."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
