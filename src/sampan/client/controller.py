"""One reconcile loop shape for every controller.

A controller says which informers it watches and how an object of each leads to keys; the loop hands it one key at a
time.
The smallest example::

    class Greeter(Controller):
        name = "greeter"

        def __init__(self, client: Client, config_maps: Informer) -> None:
            super().__init__(client)
            self.watch(config_maps)

        async def reconcile(self, key: str) -> float | None:
            ...  # read the informers, compute what should be, write the difference

The contract of ``reconcile``: it gets only a key and looks at the present state (level, not edge); it is never called
twice at a time for one key; returning None ends the matter until something changes, returning seconds asks to be called
again then; an exception is logged once and tried again with a growing back-off; conflicts and "not found" are retried
without a word, because the informers will have caught up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sampan.client.errors import ApiError
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.workqueue import WorkQueue
from sampan.schema.objects import Object

KeysOf = Callable[[Object], Iterable[str]]


def own_key(obj: Object) -> list[str]:
    return [key_of(obj)]


class Controller:
    """The base of the built-in controllers; ``workers`` keys are handled at a time, at most: of a controller with nothing to
    do there is one worker."""

    name = "controller"
    workers = 4

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue = WorkQueue(self.name)
        self.logger = logging.getLogger(f"sampan.controllers.{self.name}")
        self._informers: list[Informer] = []
        self._problems: dict[str, str] = {}
        self._workers_there = self._workers_waiting = 0
        """Workers, and those of them that wait for a key."""

    def watch(self, informer: Informer, keys: KeysOf = own_key) -> None:
        """Queue the keys of every object that appears, changes or goes (of its old and its new state)."""
        self._informers.append(informer)

        def on_change(change: str, old: Object | None, new: Object) -> None:
            for key in keys(new):
                self.queue.add(key)
            if old is not None and change == "MODIFIED":
                for key in keys(old):
                    self.queue.add(key)

        informer.add_handler(on_change)

    async def reconcile(self, key: str) -> float | None:
        """Make the world so for one key; see the module's contract."""
        raise TypeError(f"{type(self).__name__} has no reconcile")

    async def run(self) -> None:
        """Work until cancelled, once every watched informer is whole."""
        for informer in self._informers:
            await informer.synced()
        self._workers_there = self._workers_waiting = 0
        async with asyncio.TaskGroup() as group:
            self._begin_worker(group)

    def _begin_worker(self, group: asyncio.TaskGroup) -> None:
        self._workers_there += 1
        self._workers_waiting += 1
        group.create_task(self._work(group), name=self.name)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Handle one key after the other. Whoever takes one leaves another worker waiting, where there may be one more; who
        comes back and finds one waiting goes."""
        try:
            while True:
                key = await self.queue.get()
                self._workers_waiting -= 1
                if not self._workers_waiting and self._workers_there < self.workers:
                    self._begin_worker(group)
                await self._handle(key)
                if self._workers_waiting:
                    return
                self._workers_waiting += 1
        finally:
            self._workers_there -= 1

    async def _handle(self, key: str) -> None:
        try:
            again = await self.reconcile(key)
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                self._report(key, str(error))
            self.queue.retry(key)
        except Exception as error:
            self._report(key, f"{type(error).__name__}: {error}", error)
            self.queue.retry(key)
        else:
            self._problems.pop(key, None)
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            self.queue.done(key)
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # an error of what ``reconcile`` tidied up stood in its place

    def _report(self, key: str, problem: str, error: Exception | None = None) -> None:
        if self._problems.get(key) != problem:
            self._problems[key] = problem
            self.logger.error("%s: %s", key, problem, exc_info=error)
