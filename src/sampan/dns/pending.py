"""Answers that wait for others: how many there are is bounded, and no client may have them all.

A resolver that does not answer holds a question for seconds; ten thousand questions of one client must not take the places of
everybody. Who asks for more than its share is told REFUSED at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from sampan.dns.asking import Pending
from sampan.dns.entries import Ip

logger = logging.getLogger("sampan.dns")

AT_MOST = 4096
OF_ONE = 512


class Waiting:
    """``spawn`` starts a task of the owner's group."""

    def __init__(self, spawn: Callable[..., object], at_most: int = AT_MOST, of_one: int = OF_ONE) -> None:
        self._spawn = spawn
        self._at_most, self._of_one = at_most, of_one
        self._of: Counter[Ip] = Counter()
        self._all = 0
        self.rejected = 0

    def take(self, pending: Pending, send: Callable[[bytes], None]) -> None:
        """Send the answer when it is known, or at once that there are too many."""
        source = pending.source
        if self._of[source] >= self._of_one or self._all >= self._at_most:
            self.rejected += 1
            send(pending.rejected())
            return
        self._of[source] += 1
        self._all += 1
        self._spawn(self._finish(pending, send), name="dns-answer")

    async def _finish(self, pending: Pending, send: Callable[[bytes], None]) -> None:
        source = pending.source
        try:
            send(await pending.finished())
        except asyncio.CancelledError:
            raise
        except Exception:
            # one question that cannot be answered must not end the server for all others
            logger.exception("a question of %s could not be answered", source)
        finally:
            self._of[source] -= 1
            self._all -= 1
            if not self._of[source]:
                del self._of[source]
