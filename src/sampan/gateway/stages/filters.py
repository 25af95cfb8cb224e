"""Which filters the listeners of a table have, and what stands behind the ASGI middlewares among them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.model.routes import RouteModel
from sampan.gateway.stages.resources import Resources, note
from sampan.gateway.xds import inner
from sampan.gateway.xds.offers import digest_of_filter
from sampan.gateway.xds.tables import Tables
from sampan.gateway.xds.types import LISTENER


class Filters:
    def __init__(self, out: Resources, tables: Tables) -> None:
        self.out, self.world, self.tables = out, out.world, tables
        self.ending: dict[str, set[HttpFilter]] = {}
        """Table → filters of its listeners that are to go."""
        self._needed: dict[str, Counter[HttpFilter]] = {}
        self._inner: dict[str, set[tuple[str, str]]] = {}

    def change(self, old: RouteModel | None, new: RouteModel | None) -> None:
        before, after = old.http_filters if old else {}, new.http_filters if new else {}
        for table in before.keys() | after.keys():
            if before.get(table) == after.get(table):
                continue
            counts = self._needed.setdefault(table, Counter())
            counts.update(after.get(table, ()))
            counts.subtract(before.get(table, ()))
            for entry in [entry for entry, count in counts.items() if count <= 0]:
                del counts[entry]
            self.world.dirty.add(("filters", table))

    def compute(self, table: str) -> None:
        """Say which filters the listeners of a table have. One that is needed no more stays until every Envoy has taken the
        table without it: requests would pass it meanwhile."""
        needed = self._needed.get(table, Counter())
        ending = {entry for entry in self.world.all("HttpFilters").get(table) or () if entry not in needed}
        under_way = self.out.ads.connected and table in self.tables.changed
        if ending and not under_way and self.out.ads.is_settled(table):
            standing = self.tables.needs(table)
            ending = {entry for entry in ending if digest_of_filter(entry) in standing}
        note(self.ending, table, ending)
        if self.world.put("HttpFilters", table, tuple(sorted({*needed, *ending})) or None):
            self.world.dirty.add(("inner", table))

    def compute_inner(self, table: str) -> None:
        """Make what stands behind the ASGI middlewares of a table."""
        made: dict[tuple[str, str], dict[str, Any] | None] = {}
        for type_url, name, message in inner.resources(self.world, table, self.world.get("HttpFilters", table) or ()):
            made[type_url, name] = message
        for type_url, name in {**dict.fromkeys(self._inner.get(table, ())), **made}:
            content = made.get((type_url, name))
            if type_url == LISTENER:
                self.out.emit_listener(name, content, frozenset((table,) if content else ()))
            else:
                self.out.emit(type_url, name, content)
        self._inner[table] = set(made)
