"""Routes that wait for their listener: Envoy refused its new version, and the one before lacks a filter that they wake.

Envoy would serve them without the filter: without the login, say. So what they want is held until a listener with all of
it is taken. Meanwhile a route serves as it did before; one that is new answers 503 to what it matches, so that nothing else
takes its requests. Others, which need nothing of the new listener, go on changing. See ADR 93.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sampan.gateway.model.ranked import Ranked, unavailable
from sampan.gateway.model.routes import RouteId
from sampan.gateway.xds.trials import Wanted

Standing = Callable[[RouteId, tuple[str, str]], tuple[Ranked, ...]]


@dataclass
class Held:
    offered: frozenset[str] | None = None
    """The filters (digests) of the listeners that Envoy serves, as long as it refuses a newer one; None: all."""
    wanted: dict[RouteId, Wanted] = field(default_factory=dict)
    """What routes are to be as soon as they can."""
    closed: dict[RouteId, set[tuple[str, str]]] = field(default_factory=dict)
    """Where they answer 503 until then."""

    def lacks(self, entries: Iterable[Ranked]) -> bool:
        return self.offered is not None and any(not entry.needs <= self.offered for entry in entries)

    def lacked(self, needs: Iterable[str]) -> bool:
        return self.offered is not None and any(one not in self.offered for one in needs)

    def serves_before(self, route: RouteId) -> bool:
        """Whether what stands there is not what the route wants now, but what it was."""
        return route in self.wanted and route not in self.closed

    def release(self, route: RouteId) -> Wanted:
        """Return what a route wanted and had to wait for; it waits no more. Where it is closed, it stays so until something
        else is put there."""
        return self.wanted.pop(route, {})

    def judged(self, route: RouteId, wanted: Wanted, standing: Standing) -> Wanted:
        """Return what is to stand there of what a route wants: all of it, or what can be until its listener is taken."""
        closed = self.closed.pop(route, set())
        if not any(self.lacks(after) for after in wanted.values()):
            return wanted
        self.wanted[route] = wanted
        found: Wanted = {}
        for hosts, after in wanted.items():
            before = standing(route, hosts)
            if before and hosts not in closed and not self.lacks(before):
                found[hosts] = before
            else:
                found[hosts] = tuple(unavailable(entry) for entry in after)
                if after:
                    self.closed.setdefault(route, set()).add(hosts)
        return found


def same_for_envoy(before: tuple[Ranked, ...], after: tuple[Ranked, ...]) -> bool:
    """Whether two come to the same bytes: then no answer of Envoy's is to be waited for."""
    return [entry[:2] for entry in before] == [entry[:2] for entry in after]
