"""The agent: files in, records out, and nothing forgotten in between.

One turn: read what there is (a batch at most), give it to every output, and when all have it commit where the files were
read to and where the outputs are. While an output does not take a batch nothing more is read: the log files are the buffer,
and rotated ones are held open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from sampan.logs import memory
from sampan.logs.account import Account, bytes_of
from sampan.logs.faults import place_of
from sampan.logs.gathered import Gathered, Taken
from sampan.logs.joining import Record, Run
from sampan.logs.log_record import Delivery, Labels, nothing_wished
from sampan.logs.outputs.aside import Aside
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.output import Lines, Output
from sampan.logs.outputs.spool import Spooled
from sampan.logs.pod_paths import of_path
from sampan.logs.processing.draft import Many
from sampan.logs.processing.pipeline import NOTHING, Pipeline, routed
from sampan.logs.reading.file import LogFile
from sampan.logs.reading.following import Following, Left, Read
from sampan.logs.reading.inotify import Watches
from sampan.logs.reading.ledger import Ledger, Position

logger = logging.getLogger("sampan.logs")

BATCH_BYTES = 4 << 20
TRIM_BYTES = 1 << 20
"""Memory is given back when there is nothing to do, after so much has gone out."""
SWEEP_SECONDS = 10.0
"""What no event tells of (a network file system, an event that was lost) is found after so long."""
RESTLESS_SECONDS = 0.25
LONG_SECONDS = 1.0
MANY_STREAMS = 20_000


@dataclass
class Totals:
    """Since the start."""

    records: int = 0
    """Delivered to every output that gets them, or refused."""
    outputs: dict[str, Counts] = field(default_factory=dict)


def nowhere(output: str) -> Aside | None:
    return None


class Agent:
    def __init__(
        self,
        following: Following,
        ledger: Ledger,
        outputs: Sequence[Output],
        *,
        flush_seconds: float = 2.0,
        poll_seconds: float = 0.0,
        labels_of: Callable[[str], Mapping[str, str]] = of_path,
        wishes_of: Callable[[str], Mapping[str, str]] = nothing_wished,
        pipeline: Pipeline = NOTHING,
        aside_of: Callable[[str], Aside | None] = nowhere,
    ) -> None:
        """``poll_seconds``: look so often, and do without inotify. ``labels_of`` tells of a path what is known of it,
        ``wishes_of`` what its pod asks of the ``pipeline``, ``aside_of`` of an output's name where records go that it fails
        at."""
        self.following, self._ledger, self._outputs = following, ledger, outputs
        self.pipeline, self._wishes_of = pipeline, wishes_of
        self._flush, self._poll, self._labels_of = flush_seconds, poll_seconds, labels_of
        self._labels: dict[tuple[str, bytes], tuple[Mapping[str, str], Labels]] = {}
        self._batch = Gathered()
        self._touched: dict[tuple[int, int], LogFile | Left] = {}
        self._watches: Watches | None = None
        self._changed = asyncio.Event()
        self._swept_at = 0.0
        self._since_trim, self._trimmed_at = 0, 0.0
        """Bytes of the batches since memory was given back, and when that was."""
        self._delivering = self._stopping = False
        self._work: asyncio.Task[None] | None = None
        self._as_json = all(isinstance(output, Lines) and output.as_json for output in outputs)
        self._spools = [output for output in outputs if isinstance(output, Spooled)]
        self._given = {output.name: Counts() for output in outputs}
        self._aside = {output.name: aside_of(output.name) for output in outputs}
        self.totals = Totals(outputs=self._given | {spool.name: spool.counts for spool in self._spools})

    async def run(self) -> None:
        """Work until ``stop`` is called."""
        self._work = asyncio.current_task()
        await self._begin()
        try:
            while not self._stopping:
                await self._turn()
                await self._wait()
        finally:
            self._end_watching()

    async def once(self) -> None:
        """Read everything that is there, give it out, and end."""
        await self._begin(watch=False)
        await self._turn()
        await self._take(self.following.finish())
        await self._deliver()
        for spool in self._spools:
            await spool.drained()

    async def stop(self, patience_seconds: float = 5.0) -> None:
        """Give out what is held. What the outputs do not take is read again by the next agent, and those that have taken a
        batch that others have not are taken back by it. What still waits in a spool then is sent by it."""
        self._stopping = True
        self._changed.set()
        if self._work is not None:
            await asyncio.wait({self._work}, timeout=patience_seconds)
            if self._work.cancel():
                await asyncio.wait({self._work})
        if self._delivering:
            await self.close()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._take(self.following.finish())
                await self._deliver()
                for spool in self._spools:
                    await spool.drained()
        await self.close()

    async def close(self) -> None:
        for output in self._outputs:
            try:
                await output.close()
            except Exception as error:
                logger.error("%s cannot be closed: %s", output.name, place_of(error))
        self.following.close()
        self._ledger.close()

    async def _begin(self, *, watch: bool = True) -> None:
        marks = self._ledger.marks()
        self._ledger.commit((), {output.name: await output.open(marks.get(output.name)) for output in self._outputs})
        if watch and not self._poll:
            try:
                self._watches = Watches()
                asyncio.get_running_loop().add_reader(self._watches.descriptor, self._notice)
            except OSError as error:
                self._fall_back(error)
        self._look()
        self._ledger.forget(self.following.files)

    def _fall_back(self, error: OSError) -> None:
        logger.warning("inotify does not work (%s): looking once a second instead", error.strerror)
        self._end_watching()
        self._poll = 1.0

    def _end_watching(self) -> None:
        if self._watches is not None:
            asyncio.get_running_loop().remove_reader(self._watches.descriptor)
            self._watches.close()
            self._watches = None

    def _look(self) -> None:
        """Look for files; watch their folders first, so that what comes in between is not missed."""
        self._watch()
        self.following.scan()
        self._watch()

    def _watch(self) -> None:
        if self._watches is None:
            return
        try:
            for folder in self.following.folders():
                with contextlib.suppress(FileNotFoundError):
                    self._watches.add(folder)
        except OSError as error:
            self._fall_back(error)

    async def _turn(self) -> None:
        following = self.following
        await self._take(following.read())
        await self._take(following.quiet(self._flush))
        await self._take(following.let_go())
        await self._deliver()

    async def _take(self, reads: Iterable[Read]) -> None:
        for file, records in reads:
            self._touched[file.key] = file
            if records:
                observed, of_file = time.time_ns(), (self._labels_of(file.path), self._wishes_of(file.path))
                for stream, of_stream in groupby(records, itemgetter(0)):
                    labels = self._labels_for(file.path, stream, *of_file)
                    if self.pipeline.steps_of(labels):
                        self._process(labels, [item for _, item in of_stream], observed, file.account)
                    else:
                        self._batch.add(labels, (item for _, item in of_stream), observed, file.account)
            if self._batch.size >= BATCH_BYTES:
                await self._deliver()

    def _process(self, labels: Labels, items: list[Record | Run], observed: int, account: Account) -> None:
        """Take what goes on of a stream's records. Runs are taken apart for it, if there is a step that may change them."""
        waiting: list[Record | Run] = []

        def process() -> None:
            if waiting:
                self._batch.take(self._processed(labels, waiting, observed, account))
                waiting.clear()

        for item in items:
            if isinstance(item, Run):
                process()  # steps may remember what came before
                if self.pipeline.passes(labels, item.raw):
                    self._batch.add(labels, (item,), observed, account)
                    continue
                if self._as_json and (found := self.pipeline.together(labels, item)) is not None:
                    for part in found:
                        if isinstance(part, Many):
                            self._take_many(labels, part, observed, account)
                        else:
                            waiting.append(part)
                            process()
                    continue
            waiting.append(item)
        process()

    def _take_many(self, labels: Labels, many: Many, observed: int, account: Account) -> None:
        run = many.run
        account.records += run.lines
        account.given += run.lines
        account.given_bytes += many.text_bytes
        account.overhead_bytes += len(run.raw) - many.text_bytes

        def deliveries() -> list[Delivery]:
            return self.pipeline.process(labels, run.records(), observed, Account())

        self._batch.take_together(labels, Taken(many.json, deliveries), run.lines, observed)

    def _processed(self, labels: Labels, items: list[Record | Run], observed: int, account: Account) -> list[Delivery]:
        records = [record for item in items for record in (item.records() if isinstance(item, Run) else (item,))]
        dropped_before = account.dropped_bytes.total()
        found = self.pipeline.process(labels, records, observed, account)
        account.records += len(records)
        account.given += len(found)
        account.joined += sum(record.lines > 1 for record in records)
        dropped = account.dropped_bytes.total() - dropped_before
        account.given_bytes += sum(map(bytes_of, records)) - dropped
        for item in items:
            if isinstance(item, Run):
                account.overhead_bytes += len(item.raw) - sum(map(len, item.entries[1]))
        return found

    def _labels_for(self, path: str, stream: bytes, values: Mapping[str, str], wishes: Mapping[str, str]) -> Labels:
        known = self._labels.get((path, stream))
        if known is not None and known[0] == values and known[1].wishes == wishes:
            return known[1]
        if len(self._labels) > MANY_STREAMS:
            self._labels.clear()
        labels = Labels({"file": path, **({"stream": stream.decode()} if stream else {}), **values}, wishes)
        self._labels[path, stream] = (values, labels)
        return labels

    async def _deliver(self) -> None:
        """Give the batch out and commit. Reading waits here."""
        positions = [file.position() for file in self._touched.values()]
        marks: dict[str, int] = {}
        if self._batch:
            self._delivering = True
            async with asyncio.TaskGroup() as group:
                given = {
                    output.name: group.create_task(
                        deliver(output, batch, self._given[output.name], self._aside[output.name])
                    )
                    for output in self._outputs
                    if (batch := routed(self._batch, output.name) if self.pipeline.routes else self._batch)
                }
                await self._hold_files(list(given.values()))
            for name, task in given.items():
                mark = task.result()
                if mark is not None:
                    marks[name] = mark
        if positions or marks:
            self._delivering = True
            await self._commit(positions, marks)
            for spool in self._spools:
                if spool.name in marks:
                    spool.committed(marks[spool.name])
        self._delivering = False
        self._since_trim += self._batch.size
        self.totals.records += len(self._batch)
        self._batch, self._touched = Gathered(), {}

    async def _hold_files(self, work: list[asyncio.Task[Any]]) -> None:
        """While outputs take long, open what files come: one that is removed before it can be read is held then."""
        while work and (await asyncio.wait(work, timeout=LONG_SECONDS))[1]:
            if self._poll:
                self._look()
            elif self._changed.is_set():
                self._heed()

    async def _commit(self, positions: list[Position], marks: dict[str, int]) -> None:
        """Write down how far everything is, however often that must be tried: on a full disk, say."""
        said = False
        while True:
            try:
                await asyncio.to_thread(self._ledger.commit, positions, marks)
            except sqlite3.OperationalError as error:
                if not said:
                    logger.warning("the state cannot be written, and that is tried again: %s", error)
                said = True
                await asyncio.sleep(LONG_SECONDS)
            else:
                return

    async def _wait(self) -> None:
        """Wait for an event, or for what time alone brings."""
        following = self.following
        seconds = self._poll or (RESTLESS_SECONDS if following.restless else SWEEP_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            if self._since_trim >= TRIM_BYTES and now - self._trimmed_at >= SWEEP_SECONDS:
                self._since_trim, self._trimmed_at = 0, now
                memory.give_back()
            if self._poll or now - self._swept_at >= SWEEP_SECONDS:
                self._swept_at = now
                following.all_may_be_written()
                self._look()
            elif following.undecided:
                self._look()
            return
        self._heed()

    def _notice(self) -> None:
        """Take in that there are events. They wait until somebody heeds them, and must not wake us again meanwhile."""
        self._changed.set()
        if self._watches is not None:
            asyncio.get_running_loop().remove_reader(self._watches.descriptor)

    def _heed(self) -> None:
        self._changed.clear()
        if self._watches is None:
            return
        asyncio.get_running_loop().add_reader(self._watches.descriptor, self._notice)
        written, moved = self._watches.read()
        if moved:
            self._look()
            self.following.all_may_be_written()
        self.following.written(written)
