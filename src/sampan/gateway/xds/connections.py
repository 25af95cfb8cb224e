"""What the server knows of an Envoy: what it asked for, what it was sent, what it has taken of it."""

from __future__ import annotations

import asyncio

from sampan.gateway.xds.offers import base_of, digest_of_table, offers_of
from sampan.gateway.xds.types import ORDER, ROUTES, WILDCARD


class Connection:
    """One Envoy: what it subscribed to, what it has, what it is to get, what is on its way."""

    def __init__(self) -> None:
        self.subscribed: dict[str, set[str]] = {}
        self.names: dict[str, set[str]] = {}
        """Table → the names of generations of listeners under which it asked for it (``offers.name_for``)."""
        self.first: set[str] = set()
        """Names under which a table is sent for the first time, as it was taken last."""
        self.has: dict[str, dict[str, str]] = {type_url: {} for type_url in ORDER}
        self.due: dict[str, dict[str, int]] = {type_url: {} for type_url in ORDER}
        """Type → name → the push that made it due."""
        self.awaited: dict[str, int] = {}
        """Tables of routes that this Envoy will ask for, with the push that made them: it has their listener, or will."""
        self.waiting: dict[str, tuple[str, dict[str, int]]] = {}
        """Type → nonce and resources (with their push) of the answer that has not been acknowledged."""
        self.newest: dict[str, int] = {}
        """Type → the last push whose changes are in the answer that was sent last."""
        self.alone: set[tuple[str, str]] = set()
        """Resources of an answer that was refused: they go one by one."""
        self.refused: dict[str, str] = {}
        """Listeners whose last version it refused, with its words: it serves the one before, if it has one."""
        self.offers: dict[str, dict[str, frozenset[str]]] = {}
        """Table → the listeners of it that this Envoy serves → their filters (digests)."""
        self.out: asyncio.Queue[bytes] = asyncio.Queue()
        self.count = 0

    def wants(self, type_url: str, name: str) -> bool:
        names = self.subscribed.get(type_url)
        if names is None:
            return False
        return type_url in WILDCARD or name in names or "*" in names

    def subscribe(self, type_url: str, names: list[str]) -> None:
        self.subscribed[type_url].update(names)
        for name in names if type_url == ROUTES else ():
            if base_of(name) != name:
                self.names.setdefault(base_of(name), set()).add(name)

    def unsubscribe(self, type_url: str, name: str) -> None:
        self.subscribed[type_url].discard(name)
        self.has[type_url].pop(name, None)
        self.due[type_url].pop(name, None)
        names = self.names.get(base_of(name), set())
        names.discard(name)
        if not names:
            self.names.pop(base_of(name), None)

    def has_table(self, name: str, version: str) -> bool:
        """Whether it has a version of a table, or of a part of one, under some name."""
        return any(self.has[ROUTES].get(asked) == version for asked in (name, *self.names.get(name, ())))

    def never_asks(self, table: str) -> bool:
        """Whether it will not ask for a table: it refused the listener and has none before it."""
        if digest_of_table(table) in self.offers:
            return False
        return any(table == name or table.startswith((f"{name}/", f"{name}|")) for name in self.refused)

    def takes(self, listener: str, version: str) -> None:
        """Note which version of a listener it serves from now on; empty: none."""
        for listeners in self.offers.values():
            listeners.pop(listener, None)
        for table, filters in offers_of(version).items():
            self.offers.setdefault(table, {})[listener] = filters
        for table in [table for table, listeners in self.offers.items() if not listeners]:
            del self.offers[table]

    def lacks(self, table: str, needs: frozenset[str]) -> bool:
        """Whether a listener that it serves would let requests of a table's routes through without their filters."""
        return any(not needs <= filters for filters in self.offers.get(digest_of_table(table), {}).values())

    def refused_offer(self, table: str) -> frozenset[str] | None:
        """Return the filters that a table's listeners still have where a newer version of one was refused, None where none
        was."""
        listeners = self.offers.get(digest_of_table(table), {})
        stale = [filters for listener, filters in listeners.items() if listener in self.refused]
        return frozenset.intersection(*stale) if stale else None
