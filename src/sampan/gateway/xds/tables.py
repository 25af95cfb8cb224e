"""Route tables: for each port (or listener with TLS) the virtual hosts, each held as the bytes that Envoy gets.

A table is a ``RouteConfiguration``. What routes put at a ``Place`` is kept by place; a change makes the virtual hosts dirty
that it touches, only these are put together anew, and a table's bytes are the join of its virtual hosts'. A virtual host
has the routes for its own name, then those for wider names, so that a request falls from the more specific host name to the
wider one. A host belongs to the most specific listener that covers it: the others' routes do not apply there, and with TLS,
where the listener was chosen by the handshake, they answer 421. Source: Gateway API v1 (listener isolation, route
precedence), RFC 9110 (421).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sampan.gateway.model.hostnames import covers, owner, specificity
from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.routes import Place, RouteId
from sampan.gateway.xds import scopes
from sampan.gateway.xds.encode import delimited, encode
from sampan.gateway.xds.held import Held, same_for_envoy
from sampan.gateway.xds.offers import NOTHING
from sampan.gateway.xds.trials import Trials, Wanted
from sampan.gateway.xds.types import ROUTES

VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost"
CONFIGURATION = "envoy.config.route.v3.RouteConfiguration"
MISDIRECTED = encode("envoy.config.route.v3.Route", {"match": {"prefix": "/"}, "direct_response": {"status": 421}})
Bucket = dict[RouteId, tuple[Ranked, ...]]
Hosts = tuple[str, str]
"""A listener's host name, and the host name of routes under it."""


@dataclass
class Table:
    listeners: frozenset[str] = frozenset()
    """Host names of all listeners of the port."""
    own: frozenset[str] = frozenset()
    """Those whose requests are looked up here."""
    buckets: dict[Hosts, Bucket] = field(default_factory=dict)
    wide: dict[str, set[str]] = field(default_factory=dict)
    """Listener's host name → wildcards under it."""
    hosts: dict[str, bytes] = field(default_factory=dict)
    """Domain → its virtual host, as a field of the configuration."""
    dirty: set[str] = field(default_factory=set)
    many: bool = False
    """Whether it is to be in parts."""
    parts: dict[str, set[str]] = field(default_factory=dict)
    """Part → its host names, as Envoy has them."""
    scopes_wanted: bool = False
    trials: Trials = field(default_factory=Trials)
    held: Held = field(default_factory=Held)
    configured: dict[tuple[RouteId, Hosts], tuple[Ranked, ...]] = field(default_factory=dict)
    """What stood there that comes to the same, but for the configuration of filters that it needs."""
    needs: Counter[str] = field(default_factory=Counter)
    """The filters (digests) that what stands here needs of the listeners."""

    def domains(self) -> set[str]:
        own = {host for listener, host in self.buckets if listener in self.own}
        return own | self.listeners

    @property
    def scoped(self) -> bool:
        """Whether it is in parts: asked for, and every host name with routes is an exact one."""
        if not self.many or not self.listeners:
            return False
        return not any(self.wide.values()) and not any(name.startswith("*") for name in self.listeners - self.own)

    def touch(self, hostname: str) -> None:
        """Make the virtual hosts dirty that a host name's routes stand in."""
        self.dirty.add(hostname)
        if hostname.startswith("*"):
            self.dirty.update(domain for domain in self.hosts if covers(hostname, domain))

    def apply(self, route: RouteId, hosts: Hosts, after: tuple[Ranked, ...]) -> tuple[Ranked, ...]:
        """Set what a route puts for a host name; return what stood there."""
        listener, hostname = hosts
        bucket = self.buckets.setdefault(hosts, {})
        before = bucket.pop(route, ())
        if after:
            bucket[route] = after
        wide = self.wide.setdefault(listener, set())
        if not bucket:
            del self.buckets[hosts]
            wide.discard(hostname)
        elif hostname.startswith("*"):
            wide.add(hostname)
        if before != after:
            self.touch(hostname)
            for entry in before:
                self.needs.subtract(entry.needs)
            for entry in after:
                self.needs.update(entry.needs)
        return before

    def standing(self, route: RouteId, hosts: Hosts) -> tuple[Ranked, ...]:
        return self.buckets.get(hosts, {}).get(route, ())

    def want(self, route: RouteId, wanted: Wanted) -> None:
        """Take over what a route wants: put it there, or let it wait for a trial that is under way."""
        wanted = {**self.held.release(route), **wanted}
        if self.trials.under_way:
            for hosts, after in wanted.items():
                self.trials.wait(route, hosts, after)
        else:
            self.place(route, wanted)

    def place(self, route: RouteId, wanted: Wanted) -> None:
        """Put there what a route wants, and hold it where the listener lacks a filter for it."""
        for hosts, after in self.held.judged(route, wanted, self.standing).items():
            before = self.apply(route, hosts, after)
            self.configured.pop((route, hosts), None)
            if not same_for_envoy(before, after):
                self.trials.note(route, hosts, before)
            elif before != after:
                self.configured[route, hosts] = before

    def offer(self, filters: frozenset[str] | None) -> None:
        """Hear which filters the listeners have that Envoy serves, None: all. What was held is judged anew, and what stands
        here and was not taken yet."""
        self.held.offered = filters
        for route in list(self.held.wanted):
            self.want(route, {})
        if filters is None:
            return
        for route in self.trials.suspects():
            if any(self.held.lacks(self.standing(route, hosts)) for hosts in self.trials.hosts_of(route)):
                taken_back = self.trials.take_back(route)
                wanted = {hosts: self.apply(route, hosts, before) for hosts, before in taken_back.items()}
                self.place(route, wanted)
        self._hold_others()

    def _hold_others(self) -> None:
        """Hold what lacks a filter though a listener took it: another one, or only the configuration of a filter has changed
        since, and what stood here before comes to the same."""
        if not self.held.lacked(+self.needs):
            return
        lacking: dict[RouteId, Wanted] = {}
        for hosts, bucket in self.buckets.items():
            for route, entries in bucket.items():
                if self.held.lacks(entries):
                    lacking.setdefault(route, {})[hosts] = entries
        for route, wanted in lacking.items():
            for hosts in wanted:
                before = self.configured.get((route, hosts), ())
                self.apply(route, hosts, () if self.held.lacks(before) else before)
            self.place(route, wanted)

    def virtual_host(self, domain: str) -> bytes | None:
        """Return the bytes of a virtual host, None when there is none of that name."""
        of = owner(self.listeners, domain) if len(self.listeners) > 1 else next(iter(self.listeners), "")
        if domain not in self.listeners and (of, domain) not in self.buckets:
            return None
        if of not in self.own:
            routes = [MISDIRECTED] if domain in self.listeners else []
            if not routes:
                return None
        else:
            wider = [name for name in self.wide.get(of, ()) if name != domain and covers(name, domain)]
            routes = []
            for hostname in (domain, *sorted(wider, key=specificity)):
                bucket = self.buckets.get((of, hostname))
                if bucket:
                    ranked = [entry for entries in bucket.values() for entry in entries]
                    ranked.sort(key=lambda entry: entry.rank)
                    routes += [entry.route for entry in ranked]
        return delimited(2, encode(VIRTUAL_HOST, {"name": domain, "domains": [domain], "routes": routes}))


class Tables:
    """All tables of all Gateways."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.changed: set[str] = set()
        self.restricted: set[str] = set()
        """Tables of which Envoy refused a listener that it has an earlier version of."""

    def set_listeners(self, name: str, listeners: Iterable[str], own: Iterable[str], *, many: bool = False) -> None:
        """Say which listeners a table is for; all its virtual hosts are made anew when that changed."""
        table = self.tables.setdefault(name, Table())
        wanted = frozenset(listeners), frozenset(own)
        if (table.listeners, table.own) != wanted:
            before = table.domains() | set(table.hosts)
            table.listeners, table.own = wanted
            table.dirty |= before | table.domains()
        table.many = many
        self.changed.add(name)

    def drop(self, name: str) -> None:
        """Forget that a table has listeners. What routes put there stays until they take it away."""
        table = self.tables.get(name)
        if table is not None:
            self.set_listeners(name, (), ())

    def put(self, route: RouteId, old: dict[Place, tuple[Ranked, ...]], new: dict[Place, tuple[Ranked, ...]]) -> None:
        """Take over what a route puts where."""
        wanted: dict[str, Wanted] = {}
        for place in old.keys() | new.keys():
            before, after = old.get(place, ()), new.get(place, ())
            table = self.tables.setdefault(place.table, Table())
            if before != after or route in table.trials.blamed:
                wanted.setdefault(place.table, {})[place.listener_hostname, place.hostname] = after
        for name, changes in wanted.items():
            self.tables[name].want(route, changes)
            self.changed.add(name)

    def answered(self, name: str, number: int, text: str) -> dict[RouteId, str]:
        """Take Envoy's answer to a table (its words; empty: taken). Return the routes whose fault a refusal is found to be.

        What was taken is the new ground; what was refused is taken back, and put there again route by route."""
        name, _, part = name.partition("|")
        table = self.tables.get(name)
        if table is None:
            return {}
        trials = table.trials
        if text:
            suspects = trials.suspects(part)
            if suspects:
                self.changed.add(name)
            judged = [
                route for route in suspects if trials.was_sent(route, number) and not table.held.serves_before(route)
            ]
            blamed = {suspects[0]: text} if len(suspects) == len(judged) == 1 else {}
            trials.blamed.update(blamed)
            refused: dict[RouteId, Wanted] = {}
            for route in suspects:
                held = table.held.release(route)
                for hosts, accepted in trials.take_back(route).items():
                    refused.setdefault(route, {})[hosts] = table.apply(route, hosts, accepted)
                refused.setdefault(route, {}).update(held)
            if not blamed and refused:
                trials.halve(refused)
            return blamed
        trials.taken(number, part)
        while trials.under_way and not trials.open:
            self.changed.add(name)
            for route, wanted in trials.following().items():
                table.place(route, wanted)
        return {}

    def offer(self, name: str, filters: frozenset[str] | None) -> None:
        """Hear which filters (digests) the listeners of a table have, where Envoy refuses a newer version of one; None: all
        that routes need."""
        (self.restricted.discard if filters is None else self.restricted.add)(name)
        table = self.tables.get(name)
        if table is not None and table.held.offered != filters:
            table.offer(filters)
            self.changed.add(name)

    def held(self) -> dict[RouteId, dict[str, bool]]:
        """Return the routes that wait for a listener, with the tables where they do: whether they answer 503 there, to
        some of their requests at least. Elsewhere they serve as before."""
        found: dict[RouteId, dict[str, bool]] = {}
        for name, table in self.tables.items():
            for route in table.held.wanted:
                found.setdefault(route, {})[name] = route in table.held.closed
        return found

    def needs(self, name: str) -> frozenset[str]:
        """Return the filters (digests) that a table's routes need of its listeners."""
        table = self.tables.get(name)
        if table is None:
            return NOTHING
        table.needs = +table.needs
        return frozenset(table.needs)

    def forgive(self, route: RouteId, places: Iterable[Place]) -> None:
        """Forget that a route was refused: it has changed."""
        for place in places:
            if place.table in self.tables:
                self.tables[place.table].trials.blamed.discard(route)

    def is_scoped(self, name: str) -> bool:
        return name in self.tables and self.tables[name].scopes_wanted

    def encoded(self) -> Iterator[tuple[str, str, bytes | None]]:
        """Yield ``(type, name, content)`` of what changed since the last call; None for what is gone."""
        changed, self.changed = self.changed, set()
        for name in changed:
            table = self.tables[name]
            if table.scoped != table.scopes_wanted:
                table.scopes_wanted = table.scoped
                table.dirty |= set(table.hosts) | table.domains()
            dirty, table.dirty = table.dirty, set()
            for domain in dirty:
                content = table.virtual_host(domain)
                if content is None:
                    table.hosts.pop(domain, None)
                else:
                    table.hosts[domain] = content
            yield from scopes.encoded(name, table, dirty)
            if not table.listeners or table.scopes_wanted:
                yield ROUTES, name, None
            else:
                head = encode(CONFIGURATION, {"name": name, "ignore_port_in_host_matching": True})
                yield ROUTES, name, b"".join((head, *table.hosts.values()))
            if not table.listeners and not table.buckets:
                del self.tables[name]
                self.restricted.discard(name)

    def sent(self, names: Iterable[str], number: int) -> None:
        """Say with which push the changes of tables went."""
        for name in names:
            if name in self.tables:
                self.tables[name].trials.sent(number)

    def open(self) -> list[str]:
        """Return the tables with something that Envoy is not known to have taken, or that waits for it."""
        return [name for name, table in self.tables.items() if table.trials.open or table.trials.under_way]
