"""Jumps of the clock on the wall: set by hand or by NTP, or the machine slept. The kernel tells; nothing polls.

A timer of ours goes by the monotonic clock, which neither is set nor goes on while the machine sleeps. What was computed from
the time of day (a CronJob's next time, a token's end) is to be computed anew after a jump. Source: timerfd_create(2),
TFD_TIMER_CANCEL_ON_SET.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
import time
from collections.abc import Callable

logger = logging.getLogger("sampan.client")

CLOCK_REALTIME, TFD_FLAGS = 0, os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
NEVER = struct.pack("4q", 0, 0, 2**62 // 10**9, 0)
"""``struct itimerspec``: no interval, a time that no clock comes to."""


async def follow_jumps(jumped: Callable[[], None]) -> None:
    """Call ``jumped`` at each jump until cancelled. Where the kernel cannot tell (not Linux), nothing is ever called."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "timerfd_create"):
        await asyncio.get_running_loop().create_future()
    timer = libc.timerfd_create(CLOCK_REALTIME, TFD_FLAGS)
    if timer < 0:
        logger.warning("jumps of the clock are not noticed: %s", os.strerror(ctypes.get_errno()))
        await asyncio.get_running_loop().create_future()
    apart = time.time() - time.monotonic()

    def ready() -> None:
        nonlocal apart
        try:
            os.read(timer, 8)
        except BlockingIOError:
            return
        except OSError:  # ECANCELED: the clock was set; once told, the timer goes on
            before, apart = apart, time.time() - time.monotonic()
            logger.info("the clock jumped by %+.3f s", apart - before)
            jumped()

    loop = asyncio.get_running_loop()
    try:
        if libc.timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, NEVER, None) < 0:
            logger.warning("jumps of the clock are not noticed: %s", os.strerror(ctypes.get_errno()))
        loop.add_reader(timer, ready)
        await loop.create_future()
    finally:
        loop.remove_reader(timer)
        os.close(timer)
