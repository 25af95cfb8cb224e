"""Which listeners ask for a table, by their filters: ``table@generation`` (``offers.name_for``).

When a listener changes, Envoy lets the connections that are there go on with the filters that it had, and with the tables of
these, until they end. Under one name they would get routes that wake filters which they do not have. So a listener with other
filters asks for its table under another name, and what is sent under a name needs no more than they have.
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.gateway.xds.offers import NOTHING, base_of, generation, offers_of


class Taken(NamedTuple):
    """A table as Envoy took it last."""

    version: str
    content: bytes
    needs: frozenset[str]


class Generations:
    def __init__(self) -> None:
        self._filters: dict[str, frozenset[str]] = {}
        self._taken: dict[str, Taken] = {}

    def learn(self, version: str) -> None:
        """Note the generations of a listener's version. One from before this process began is known when Envoy tells it."""
        for filters in offers_of(version).values() if "/" in version else ():
            self._filters[generation(filters)] = filters

    def have(self, name: str, needs: frozenset[str]) -> bool:
        """Whether the listeners that ask for a table by this name have all that it needs."""
        return needs <= self._filters.get(name.partition("@")[2], NOTHING)

    def take(self, name: str, table: Taken) -> None:
        self._taken[base_of(name)] = table

    def taken(self, name: str) -> Taken | None:
        """Return what a table is to be at first under a new name, None where that is what it is now: a listener whose first
        table is refused would begin with none at all."""
        found = self._taken.get(base_of(name))
        return found if found is not None and self.have(name, found.needs) else None

    def forget(self, table: str) -> None:
        self._taken.pop(table, None)
