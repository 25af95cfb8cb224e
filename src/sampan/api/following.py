"""What the API keeps in memory of some keys, kept up to date: whoever writes them, this server or another one.

A follower has the prefix of its keys and takes the store's events in batches, in revision order. It begins with ``load``,
and again whenever history is gone. Its work may not wait for anything but the store's own reads: then it is done before
the answers of requests that waited for the same events (``Store.fresh``) go on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sampan.store import Event, StoreError, Watch

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")


class Follower(NamedTuple):
    """``load`` reads everything under the prefix, ``take`` is told what has changed."""

    prefix: str
    load: Callable[[], Awaitable[None]]
    take: Callable[[Sequence[Event]], Awaitable[None]]


class Following:
    """The followers of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.followers: list[Follower] = []

    def add(
        self, prefix: str, load: Callable[[], Awaitable[None]], take: Callable[[Sequence[Event]], Awaitable[None]]
    ) -> None:
        """Follow a prefix from ``start`` on."""
        self.followers.append(Follower(prefix, load, take))

    async def start(self) -> None:
        """Load every follower, and go on in tasks that end with the API or its store."""
        for follower in self.followers:
            # the watch first: what comes while loading is only taken twice
            watch = self.api.store.watch(follower.prefix)
            await follower.load()
            self.api.spawn(f"follow {follower.prefix}", self._follow(follower, watch))

    async def _follow(self, follower: Follower, watch: Watch) -> None:
        while True:
            try:
                async for events in watch:
                    try:
                        await follower.take(events)
                    except Exception:
                        logger.exception("what is kept of %s is read anew", follower.prefix)
                        await follower.load()
                return
            except StoreError as error:
                logger.warning("following %s: %s", follower.prefix, error)
            try:
                watch = self.api.store.watch(follower.prefix)
            except StoreError:
                return  # the store is closed
            await follower.load()
