"""A batch to one output, until it is there: again after a while that doubles, with chance in it, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from sampan.logs.log_record import Batch
from sampan.logs.outputs.output import Output, Refused, Undelivered

logger = logging.getLogger("sampan.logs")

FIRST_SECONDS, LONGEST_SECONDS = 0.25, 30.0
LONGEST_ASKED_SECONDS = 300.0
"""A server that asks for more patience is asked before."""
SAID_AGAIN_SECONDS = 60.0
"""While an output says the same again and again, so often it is said."""


@dataclass
class Counts:
    """Of one output, since the start; the last three are as it is now, of an output with a spool."""

    records: int = 0
    """Acknowledged."""
    refused: int = 0
    retries: int = 0
    waiting_records: int = 0
    waiting_bytes: int = 0
    full: bool = False


async def deliver(output: Output, batch: Batch, counts: Counts) -> int | None:
    """Return the output's mark after the batch, None where it refused some of it."""
    wait, refused = FIRST_SECONDS, False
    said = Said()
    while True:
        try:
            mark = await output.deliver(batch)
        except Refused as error:
            counts.refused += error.count
            counts.records += len(batch) - error.count
            logger.warning("%s: %d records are refused: %s", output.name, error.count, error)
            return None
        except Undelivered as error:
            counts.retries += 1
            if error.rest is not None:
                if error.refused:
                    refused = True
                    logger.warning("%s: %d records are refused: %s", output.name, error.refused, error)
                taken = len(batch) - len(error.rest) - error.refused
                counts.records += taken
                counts.refused += error.refused
                batch = error.rest
                wait = FIRST_SECONDS if taken else wait
            pause = min(error.retry_after, LONGEST_ASKED_SECONDS) if error.retry_after is not None else wait
            pause *= random.uniform(1.0, 1.25) if error.retry_after is not None else random.uniform(0.75, 1.25)
            if said.is_news(str(error)):
                logger.warning("%s does not take records, and is asked again in %.1f s: %s", output.name, pause, error)
            await asyncio.sleep(pause)
            wait = min(wait * 2, LONGEST_SECONDS)
        else:
            counts.records += len(batch)
            if said.what:
                logger.info("%s takes records again", output.name)
            return None if refused else mark


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
