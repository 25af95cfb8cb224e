"""A batch in requests: in parts of a size, in halves where a part is too large or something in it is bad, and what is left
of it when the server does not go on.

One record that the server cannot take does not take its batch with it: it is found by halves, and only it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sampan.logs.faults import is_our_end
from sampan.logs.log_record import Batch
from sampan.logs.outputs.batches import cut, in_parts, together
from sampan.logs.outputs.output import Faulty, Gone, Refused, Undelivered

MOST_HALVINGS = 64
"""For one batch; if still more of it is bad, the parts are refused as they are."""


class Halve(Exception):
    """A part cannot be taken: it is too large (then always in halves), or something in it is bad."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class Verdict(NamedTuple):
    """What became of a part that the server has answered. The rest of it was taken."""

    again: Batch = ()
    """To be sent again."""
    refused: int = 0
    message: str = ""
    retry_after: float | None = None


Send = Callable[[Batch], Awaitable[Verdict]]
"""Raises ``Undelivered`` (nothing of the part was taken), ``Refused`` (all of it), ``Halve``."""
TAKEN = Verdict()


class Sender:
    """What outputs have in common that send a batch in requests, and remember nothing of one: ``_send`` sends a part."""

    _batch_bytes: int

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        await send(batch, self._batch_bytes, self._send)
        return 0

    async def close(self) -> None:
        raise NotImplementedError

    async def reset(self) -> None:
        await self.close()

    async def _send(self, part: Batch) -> Verdict:
        """As ``Send``."""
        raise NotImplementedError


async def send(batch: Batch, most_bytes: int, send_part: Send) -> None:
    """Send a batch. Raises ``Undelivered`` and ``Faulty`` with what is left of it, ``Refused``."""
    parts = list(in_parts(batch, most_bytes))
    parts.reverse()
    again: list[Batch] = []
    refused = halvings = 0
    message, retry_after = "", None
    while parts:
        part = parts.pop()
        try:
            verdict = await send_part(part)
        except Undelivered as error:
            rest = together([*again, part, *reversed(parts)])
            raise Undelivered(str(error), error.retry_after, rest=rest, refused=refused) from error
        except Refused as error:
            verdict = Verdict(refused=len(part), message=str(error))
        except Halve as error:
            halvings += 1
            if len(part) > 1 and (error.too_large or halvings <= MOST_HALVINGS):
                half = len(part) // 2
                parts += [cut(part, half, len(part)), cut(part, 0, half)]
                continue
            verdict = Verdict(refused=len(part), message=str(error))
        except Gone:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_our_end(error):
                raise
            raise Faulty(together([*again, part, *reversed(parts)]), refused) from error
        if len(verdict.again):
            again.append(verdict.again)
            retry_after = verdict.retry_after or retry_after
        refused += verdict.refused
        message = verdict.message or message
    if again:
        raise Undelivered(message, retry_after, rest=together(again), refused=refused)
    if refused:
        raise Refused(message, refused)
