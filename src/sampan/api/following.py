"""What the API keeps in memory of some keys, kept up to date: whoever writes them, this server or another one.

A follower has the prefixes of its keys and takes the store's events of each in batches, in revision order. It begins with
``load``, and again whenever history is gone. Its work may not wait for anything but the store's own reads: then it is done
before the answers of requests that waited for the same events (``Store.fresh``) go on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sampan.store import Event, StoreError, Watch

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")


class Follower(NamedTuple):
    """``load`` reads everything under the prefixes, ``take`` is told what has changed under one of them."""

    prefixes: tuple[str, ...]
    load: Callable[[], Awaitable[None]]
    take: Callable[[Sequence[Event]], Awaitable[None]]


class Following:
    """The followers of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.followers: list[Follower] = []

    def add(
        self,
        prefixes: str | Iterable[str],
        load: Callable[[], Awaitable[None]],
        take: Callable[[Sequence[Event]], Awaitable[None]],
    ) -> None:
        """Follow a prefix, or several, from ``start`` on."""
        several = (prefixes,) if isinstance(prefixes, str) else tuple(prefixes)
        self.followers.append(Follower(several, load, take))

    async def start(self) -> None:
        """Load every follower, and go on in tasks that end with the API or its store."""
        for follower in self.followers:
            # the watch first: what comes while loading is only taken twice
            watches = {prefix: self.api.store.watch(prefix) for prefix in follower.prefixes}
            await follower.load()
            for prefix, watch in watches.items():
                self.api.spawn(f"follow {prefix}", self._follow(follower, prefix, watch))

    async def _follow(self, follower: Follower, prefix: str, watch: Watch) -> None:
        while True:
            try:
                async for events in watch:
                    try:
                        await follower.take(events)
                    except Exception:
                        logger.exception("what is kept of %s is read anew", prefix)
                        await follower.load()
                return
            except StoreError as error:
                logger.warning("following %s: %s", prefix, error)
            try:
                watch = self.api.store.watch(prefix)
            except StoreError:
                return  # the store is closed
            await follower.load()
