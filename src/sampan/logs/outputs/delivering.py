"""A batch to one output, until it is there: again after a while that doubles, with chance in it, for as long as it takes.

An output that raises what it should not, by a fault of ours, stands in quarantine: it is asked again in the same way, the
other outputs go on, and where it fails at single records only those are put aside (``quarantine.py``).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from sampan.logs.faults import is_our_end, place_of
from sampan.logs.log_record import Batch
from sampan.logs.outputs.aside import Aside
from sampan.logs.outputs.output import Faulty, Gone, Output, Refused, Resets, Undelivered
from sampan.logs.outputs.quarantine import Parts

logger = logging.getLogger("sampan.logs")

FIRST_SECONDS, LONGEST_SECONDS = 0.25, 30.0
LONGEST_ASKED_SECONDS = 300.0
"""A server that asks for more patience is asked before."""
SAID_AGAIN_SECONDS = 60.0
"""While an output says the same again and again, so often it is said."""


@dataclass
class Counts:
    """Of one output, since the start; those from ``state`` on are as it is now, the last three of an output with a spool."""

    records: int = 0
    """Acknowledged."""
    refused: int = 0
    retries: int = 0
    faults: int = 0
    """Attempts that a fault of ours has ended."""
    set_aside: int = 0
    """Records that the output fails at, in the file of those that were put aside."""
    state: str = "working"
    """``waiting`` while it takes nothing, ``quarantined`` while that is by a fault of ours."""
    reason: str = ""
    since: float = 0.0
    """Of the state, in seconds since 1970."""
    waiting_records: int = 0
    waiting_bytes: int = 0
    full: bool = False

    def becomes(self, state: str, reason: str = "") -> None:
        if state != self.state:
            self.since = time.time()
        self.state, self.reason = state, reason


async def deliver(output: Output, batch: Batch, counts: Counts, aside: Aside | None = None) -> int | None:
    """Return the output's mark after the batch, None where it refused some of it. Without ``aside`` a record that it fails at
    is tried as long as it takes. Raises ``Gone``."""
    return await Delivering(output, batch, counts, aside).work()


class Delivering:
    def __init__(self, output: Output, batch: Batch, counts: Counts, aside: Aside | None) -> None:
        self._output, self._counts, self._aside = output, counts, aside
        self._parts = Parts(batch, has_worked=counts.records > 0)
        self._wait, self._refused = FIRST_SECONDS, False
        self._said = Said()
        self._where = ""
        """Of the last fault."""

    async def work(self) -> int | None:
        output, counts = self._output, self._counts
        mark = None
        while (part := self._parts.next()) is not None:
            try:
                mark = await output.deliver(part)
            except Refused as error:
                self._take_off(part, (), error.count, error)
            except Undelivered as error:
                await self._undelivered(part, error)
            except Gone:
                raise
            except (Exception, asyncio.CancelledError) as error:
                if is_our_end(error):
                    raise
                await self._failed(part, error)
            else:
                self._take_off(part, (), 0)
            for one in self._parts.take_aside():
                await self._put_aside(one)
        if self._said.what:
            logger.info("%s takes records again", output.name)
        counts.becomes("working")
        return None if self._refused else mark

    def _take_off(self, part: Batch, rest: Batch, refused: int, why: object = "") -> None:
        """Count what of a part was taken and refused; the rest is not."""
        taken = len(part) - len(rest) - refused
        self._counts.records += taken
        self._counts.refused += refused
        if refused:
            self._refused = True
            logger.warning("%s: %d records are refused: %s", self._output.name, refused, why)
        if taken or refused:
            self._parts.taken()
        if taken:
            self._wait = FIRST_SECONDS

    async def _undelivered(self, part: Batch, error: Undelivered) -> None:
        self._counts.retries += 1
        rest = part if error.rest is None else error.rest
        self._take_off(part, rest, error.refused, error)
        self._parts.back(rest)
        asked = error.retry_after
        pause = self._wait if asked is None else min(asked, LONGEST_ASKED_SECONDS)
        pause *= random.uniform(0.75, 1.25) if asked is None else random.uniform(1.0, 1.25)
        self._counts.becomes("waiting", str(error))
        if self._said.is_news(str(error)):
            name = self._output.name
            logger.warning("%s does not take records, and is asked again in %.1f s: %s", name, pause, error)
        await self._sleep(pause)

    async def _failed(self, part: Batch, error: BaseException) -> None:
        """A fault of ours."""
        self._counts.faults += 1
        rest, cause = part, error
        if isinstance(error, Faulty):
            rest, cause = error.rest, error.__cause__ or error
            self._take_off(part, rest, error.refused, "see above")
        where = self._where = place_of(cause)
        self._counts.becomes("quarantined", where)
        if self._said.is_news(where):
            logger.error("%s fails by a fault of ours, and is in quarantine: %s", self._output.name, where)
        await begin_anew(self._output)
        if self._parts.failed(rest):
            await self._sleep(self._wait * random.uniform(0.75, 1.25))

    async def _put_aside(self, one: Batch) -> None:
        """Put a batch of one record aside; where that cannot be, it goes on to be tried."""
        name = self._output.name
        if self._aside is None or not await self._aside.put(name, one[0], self._where):
            self._parts.back(one)
            await self._sleep(self._wait * random.uniform(0.75, 1.25))
            return
        self._counts.set_aside += 1
        logger.error("%s fails at a record of %s: it is put aside in %s", name, file_of(one), self._aside.path)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._wait = min(self._wait * 2, LONGEST_SECONDS)


async def begin_anew(output: Output) -> None:
    """Let an output drop the connections that a fault may have left halfway."""
    if isinstance(output, Resets):
        try:
            await output.reset()
        except Exception as error:
            logger.error("%s cannot be closed: %s", output.name, place_of(error))


def file_of(batch: Batch) -> str:
    return batch[0][0].values.get("file", "-")


class Said:
    """What an output said last, and when that was logged."""

    def __init__(self) -> None:
        self.what, self._at = "", 0.0

    def is_news(self, what: str) -> bool:
        now = asyncio.get_running_loop().time()
        if what == self.what and now - self._at < SAID_AGAIN_SECONDS:
            return False
        self.what, self._at = what, now
        return True
