"""An output behind a spool: it has a batch as soon as that is on the disk; another task sends from there.

What is sent has been committed before: records that a crash takes back were never sent, and what is sent again after one is
the same request with the same ids. When the spool is full, ``deliver`` waits: back-pressure, nothing is dropped. An error of
the disk, or a fault of ours, does not end the sending: it begins again at what is not acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from sampan.logs.faults import place_of
from sampan.logs.log_record import Batch, Delivery
from sampan.logs.outputs import delivering
from sampan.logs.outputs.aside import Aside
from sampan.logs.outputs.batches import Numbered, size_of
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.output import Gone, Output, Undelivered
from sampan.logs.outputs.spool.packing import pack, unpack
from sampan.logs.outputs.spool.segments import Damaged, Segments

logger = logging.getLogger("sampan.logs")
Answer = TypeVar("Answer")


class Spooled:
    """``counts`` are of what the output behind has acknowledged."""

    def __init__(
        self, output: Output, folder: Path, limit_bytes: int, batch_bytes: int, aside: Aside | None = None
    ) -> None:
        self.name, self.output, self.folder, self._aside = output.name, output, folder, aside
        self.counts = Counts()
        self._batch_bytes = batch_bytes
        self._segments = Segments(folder, limit_bytes)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._committed = 0
        self._read: list[Delivery] = []
        self._numbers: list[int] = []
        self._sizes: list[int] = []
        """Of those that have been read and not been taken."""
        self._more, self._room, self._sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    async def _on_disk(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def open(self, mark: int | None) -> int:
        """Raises ``OSError``, and what the output behind raises."""
        end = await self._on_disk(partial(self._segments.open, mark))
        await self.output.open(None)
        self._committed = end
        self._count()
        self._draining = asyncio.create_task(self._drain(), name=f"spool {self.name}")
        return end

    async def deliver(self, batch: Batch) -> int:
        """Return when the batch is on the disk; wait while there is no room. Raises ``Undelivered``: no disk, say."""
        assert self._draining is not None
        if self._draining.done():
            self._draining.result()  # it cannot go on: say why
        packed = await asyncio.to_thread(pack, batch)
        if not self._segments.has_room(len(packed)):
            await self._wait_for_room(len(packed))
        try:
            end = await self._on_disk(partial(self._segments.append, packed, len(batch)))
        except OSError as error:
            raise Undelivered(f"{self.folder}: {error.strerror}") from error
        self._count()
        return end

    async def _wait_for_room(self, size: int) -> None:
        assert self._draining is not None
        logger.warning("%s: the spool %s is full; reading waits", self.name, self.folder)
        self.counts.full = True
        try:
            while not self._segments.has_room(size):
                self._room.clear()
                room = asyncio.ensure_future(self._room.wait())
                await asyncio.wait({room, self._draining}, return_when=asyncio.FIRST_COMPLETED)
                room.cancel()
                if self._draining.done():
                    self._draining.result()
        finally:
            self.counts.full = False
        logger.info("%s: the spool has room again", self.name)

    def committed(self, mark: int) -> None:
        """All below a mark will not be taken back: it may be sent."""
        self._committed = mark
        self._more.set()

    async def drained(self) -> None:
        """Wait until everything that was committed has been taken, or refused, by the output behind."""
        assert self._draining is not None
        while self._segments.acknowledged < self._committed:
            self._sent.clear()
            sent = asyncio.ensure_future(self._sent.wait())
            try:
                await asyncio.wait({sent, self._draining}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sent.cancel()
            if self._draining.done():
                self._draining.result()

    async def close(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait({self._draining})
        try:
            await self.output.close()
        finally:
            await self._on_disk(self._segments.close)
            self._disk.shutdown()
        if self._draining is not None and not self._draining.cancelled():
            self._draining.result()

    async def _drain(self) -> None:
        wait = delivering.FIRST_SECONDS
        while True:
            self._more.clear()
            if self._segments.acknowledged >= self._committed:
                self.counts.becomes("working")
                self._sent.set()
                await self._more.wait()
                continue
            before = self._segments.acknowledged
            try:
                await self._send_next()
            except Gone:
                raise
            except Exception as error:
                wait = delivering.FIRST_SECONDS if self._segments.acknowledged > before else wait
                self.counts.faults += 1
                where = f"{self.folder}: {error.strerror}" if isinstance(error, OSError) else place_of(error)
                self.counts.becomes("quarantined", where)
                logger.error("%s cannot send from its spool, and that is tried again: %s", self.name, where)
                await asyncio.sleep(wait * random.uniform(0.75, 1.25))
                wait = min(wait * 2, delivering.LONGEST_SECONDS)
                with contextlib.suppress(OSError):
                    await self._on_disk(self._segments.rewind)
                self._read, self._numbers, self._sizes = [], [], []
            else:
                wait = delivering.FIRST_SECONDS
            self._count()
            self._room.set()
            self._sent.set()

    async def _send_next(self) -> None:
        """Send one request of what waits, and drop it from the spool. Raises ``OSError``."""
        segments = self._segments
        await self._fill()
        count = self._of_next_request()
        until = self._numbers[count - 1] + 1 if count else segments.read_to
        if count:
            if until > segments.sending:
                await self._on_disk(partial(segments.sends, until))
            ids = [f"{segments.identity}-{number:x}" for number in self._numbers[:count]]
            await deliver(self.output, Numbered(self._read[:count], ids), self.counts, self._aside)
            del self._read[:count], self._numbers[:count], self._sizes[:count]
        await self._on_disk(partial(segments.acknowledge, until))

    async def _fill(self) -> None:
        """Read records until they are enough for a request, or there are no more that are committed."""
        segments = self._segments
        size = sum(self._sizes)
        while size < self._batch_bytes or segments.read_to < segments.sending:
            try:
                frame = await self._on_disk(partial(segments.read, self._committed))
                if frame is None:
                    return
                deliveries = await asyncio.to_thread(unpack, frame.payload)
            except Damaged as error:
                logger.error("%s: %s", self.name, error)
                self.counts.refused += error.count
                continue
            before = max(segments.acknowledged - frame.first, 0)
            self._read += deliveries[before:]
            self._numbers += range(frame.first + before, frame.end)
            self._sizes += map(size_of, deliveries[before:])
            size = sum(self._sizes)

    def _of_next_request(self) -> int:
        """Return how many records are next: those that the last request had, if nobody knows what became of it."""
        sending = bisect_left(self._numbers, self._segments.sending)
        if sending:
            return sending
        ends = list(accumulate(self._sizes))
        return min(max(bisect_right(ends, self._batch_bytes), 1), len(ends)) if ends else 0

    def _count(self) -> None:
        self.counts.waiting_records = self._segments.end - self._segments.acknowledged
        self.counts.waiting_bytes = self._segments.size
