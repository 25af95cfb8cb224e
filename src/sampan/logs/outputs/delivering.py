"""A batch to one output, until it is there: again after a while that doubles, with chance in it, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from sampan.logs.outputs.output import Batch, Output, Refused, Undelivered

logger = logging.getLogger("sampan.logs")

FIRST_SECONDS, LONGEST_SECONDS = 0.25, 30.0


@dataclass
class Counts:
    """Of one output, since the start."""

    records: int = 0
    refused: int = 0
    retries: int = 0


async def deliver(output: Output, batch: Batch, counts: Counts) -> int | None:
    """Return the output's mark after the batch, None where it refused the batch."""
    wait = FIRST_SECONDS
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
            wait = error.retry_after or wait
            logger.warning("%s does not take records, and is asked again in %.1f s: %s", output.name, wait, error)
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))
            wait = min(wait * 2, LONGEST_SECONDS)
        else:
            counts.records += len(batch)
            return mark
