"""Priority levels: how many seats each has, lends and borrows, and who is served next.

A level has its share of the server's seats. Below what it does not lend it is always served at once; above that it takes what
no other level has reserved or uses, so that seats are borrowed and given back request by request (Kubernetes adjusts
limits every ten seconds instead; docs/adr/0012).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from sampan.api.flowcontrol.queues import Queues
from sampan.api.resources.reading import mapping, text
from sampan.schema.objects import Object


@dataclass
class Level:
    """One priority level. ``nominal`` seats are its own, of which it lends all but ``reserved``; it never uses more than
    ``most``."""

    name: str
    uid: str
    exempt: bool
    nominal: int = 0
    reserved: int = 0
    most: int = 0
    queues: Queues | None = None
    used: int = 0
    executing: int = 0
    dispatched: int = 0
    rejected: dict[tuple[str, str], int] = field(default_factory=dict)
    """By FlowSchema and reason."""

    @property
    def waiting(self) -> int:
        return self.queues.waiting if self.queues else 0


def levels_of(configurations: Iterable[Object], server_seats: int, known: dict[str, Level]) -> dict[str, Level]:
    """Return the levels of PriorityLevelConfigurations, by name; those in ``known`` go on with who they serve."""
    listed = list(configurations)
    total = sum(shares_of(configuration) for configuration in listed) or 1
    found = {}
    for configuration in listed:
        metadata = configuration["metadata"]
        exempt = text(configuration, "spec", "type") == "Exempt"
        settings = mapping(configuration, "spec", "exempt" if exempt else "limited")
        nominal = math.ceil(server_seats * shares_of(configuration) / total)
        lent = round(nominal * (settings.get("lendablePercent") or 0) / 100)
        borrow = settings.get("borrowingLimitPercent")
        most = server_seats if borrow is None else nominal + round(nominal * borrow / 100)
        name = metadata["name"]
        level = known.get(name) or Level(name, "", exempt)
        level.uid, level.exempt = metadata.get("uid", ""), exempt
        level.nominal, level.reserved, level.most = nominal, nominal - lent, most
        level.queues = queues_of(configuration, level.queues)
        found[name] = level
    return found


def shares_of(configuration: Object) -> int:
    exempt = text(configuration, "spec", "type") == "Exempt"
    settings = mapping(configuration, "spec", "exempt" if exempt else "limited")
    shares = settings.get("nominalConcurrencyShares", settings.get("assuredConcurrencyShares"))  # of v1beta2 and before
    return shares if shares is not None else 0 if exempt else 30


def queues_of(configuration: Object, known: Queues | None) -> Queues | None:
    """Return the queues a configuration asks for: the known ones where they are the same or somebody waits in them."""
    response = mapping(configuration, "spec", "limited", "limitResponse")
    if response.get("type") != "Queue":
        return known if known is not None and known.waiting else None
    asked = mapping(response, "queuing")
    count, hand = asked.get("queues") or 64, asked.get("handSize") or 8
    limit = asked.get("queueLengthLimit") or 50
    if known is not None and (known.waiting or (known.count, known.hand_size) == (count, min(hand, count))):
        known.limit = limit
        return known
    return Queues(count, hand, limit)


class Seats:
    """The seats of a server, over all its levels."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.levels: dict[str, Level] = {}
        self.taken = 0
        """Seats that are used or reserved: the sum over the levels of the larger of both."""
        self.waiting = 0

    def configure(self, configurations: Iterable[Object]) -> None:
        before = self.levels
        self.levels = levels_of(configurations, self.total, before)
        self.taken = sum(max(level.used, level.reserved) for level in self.levels.values() if not level.exempt)

    def fits(self, level: Level, seats: int) -> bool:
        """Whether a level may use so many seats more. Whoever uses none may use as many as he needs: a request that is
        wider than all of its level's seats is served, alone."""
        used = level.used + seats
        if used <= level.reserved or not level.used:
            return True
        return used <= level.most and self.taken + seats - max(0, level.reserved - level.used) <= self.total

    def take(self, level: Level, seats: int) -> None:
        level.used += seats
        level.executing += 1
        level.dispatched += 1
        beyond = level.used - level.reserved
        if beyond > 0 and not level.exempt:
            self.taken += min(beyond, seats)

    def give_back(self, level: Level, seats: int) -> None:
        beyond = level.used - level.reserved
        if beyond > 0 and not level.exempt:
            self.taken -= min(beyond, seats)
        level.used -= seats
        level.executing -= 1
        if self.waiting:
            self.serve_waiting()

    def serve_waiting(self) -> None:
        """Let go on who may now: first of the levels that use less than their own, then of those that borrow."""
        waiting = [level for level in self.levels.values() if level.queues is not None and level.queues.waiting]
        while waiting:
            level = min(waiting, key=lambda at: at.used / max(at.nominal, 1))
            queues = level.queues
            queue = queues.next() if queues is not None else None
            if queues is None or queue is None or not self.fits(level, queue.requests[0].seats):
                waiting.remove(level)
                continue
            request = queues.take(queue)
            self.waiting -= 1
            self.take(level, request.seats)
            request.future.set_result(None)
