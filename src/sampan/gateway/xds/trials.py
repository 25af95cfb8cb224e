"""Whose fault it is when Envoy refuses a table: what changed since it last took one is tried again, half by half.

Envoy takes a ``RouteConfiguration`` whole or not at all, and its words seldom name the route. So what each route had put
before is remembered until Envoy has taken what is there now. A refusal takes the changed routes back; if it was one, it is to
blame, if several, they are put there again in two halves, one after the other. What changes meanwhile goes to the end of the
line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.routes import RouteId
from sampan.gateway.xds.scopes import part_of

Wanted = dict[tuple[str, str], tuple[Ranked, ...]]


@dataclass
class Trials:
    blamed: set[RouteId] = field(default_factory=set)
    _before: dict[RouteId, Wanted] = field(default_factory=dict)
    """What stood there when Envoy last took the table, for each route that has changed since."""
    _pushes: dict[RouteId, int] = field(default_factory=dict)
    _of_part: dict[str, set[RouteId]] = field(default_factory=dict)
    _line: list[dict[RouteId, Wanted]] = field(default_factory=list)

    @property
    def under_way(self) -> bool:
        return bool(self._line)

    @property
    def open(self) -> bool:
        """Whether something is there that Envoy has not taken yet."""
        return bool(self._before)

    def note(self, route: RouteId, hosts: tuple[str, str], before: tuple[Ranked, ...]) -> None:
        """Remember what stood there before a change."""
        self._before.setdefault(route, {}).setdefault(hosts, before)
        self._of_part.setdefault(part_of(hosts[1]), set()).add(route)
        self._pushes.pop(route, None)

    def sent(self, number: int) -> None:
        """Say with which push the changes go."""
        for route in self._before.keys() - self._pushes.keys():
            self._pushes[route] = number

    def taken(self, number: int, part: str = "") -> None:
        """Forget what was before the changes up to a push (of a part, where the table has such): Envoy has taken them."""
        routes = self._of_part.get(part, set()) if part else self._before.keys()
        for route in [route for route in routes if self.was_sent(route, number)]:
            before = self._before[route]
            for hosts in [hosts for hosts in before if part in ("", part_of(hosts[1]))]:
                self._forget(route, hosts)
            if not before:
                self._pushes.pop(route, None)
                del self._before[route]

    def _forget(self, route: RouteId, hosts: tuple[str, str]) -> tuple[Ranked, ...]:
        before = self._before[route]
        found = before.pop(hosts)
        part = part_of(hosts[1])
        if all(part_of(other) != part for _, other in before):
            of_part = self._of_part[part]
            of_part.discard(route)
            if not of_part:
                del self._of_part[part]
        return found

    def was_sent(self, route: RouteId, number: int) -> bool:
        """Whether what a route wants now went with that push or before; else it was something earlier that was judged."""
        return self._pushes.get(route, number + 1) <= number

    def suspects(self, part: str = "") -> list[RouteId]:
        """Return the routes that have changed (in a part, where the table has such)."""
        return [route for route in self._before if not part or route in self._of_part.get(part, ())]

    def hosts_of(self, route: RouteId) -> list[tuple[str, str]]:
        """Return where a route has changed."""
        return list(self._before[route])

    def take_back(self, route: RouteId) -> Wanted:
        """Return what stood there before the route's changes, to be put there again."""
        self._pushes.pop(route, None)
        found = {hosts: self._forget(route, hosts) for hosts in list(self._before[route])}
        del self._before[route]
        return found

    def wait(self, route: RouteId, hosts: tuple[str, str], after: tuple[Ranked, ...]) -> None:
        """Put a change in the line: where its route stands, or at the end."""
        for batch in self._line:
            if route in batch:
                batch[route][hosts] = after
                return
        self._line.append({route: {hosts: after}})

    def halve(self, batch: dict[RouteId, Wanted]) -> None:
        """Put what was refused together at the head of the line, in two halves."""
        entries = list(batch.items())
        middle = len(entries) // 2
        self._line[:0] = [dict(entries[:middle]), dict(entries[middle:])]

    def following(self) -> dict[RouteId, Wanted]:
        """Return the next changes of the line, empty when it is at its end."""
        return self._line.pop(0) if self._line else {}
