"""Route tables: for each port (or listener with TLS) the virtual hosts, each held as the bytes that Envoy gets.

A table is a ``RouteConfiguration``. What routes put at a ``Place`` is kept by place; a change makes the virtual hosts dirty
that it touches, only these are put together anew, and a table's bytes are the join of its virtual hosts'. A virtual host
has the routes for its own name, then those for wider names, so that a request falls from the more specific host name to the
wider one. A host belongs to the most specific listener that covers it: the others' routes do not apply there, and with TLS,
where the listener was chosen by the handshake, they answer 421. Source: Gateway API v1 (listener isolation, route
precedence), RFC 9110 (421).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sampan.gateway.model.hostnames import covers, owner, specificity
from sampan.gateway.model.routes import Place, Ranked, RouteId
from sampan.gateway.xds.encode import delimited, encode

VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost"
CONFIGURATION = "envoy.config.route.v3.RouteConfiguration"
MISDIRECTED = encode("envoy.config.route.v3.Route", {"match": {"prefix": "/"}, "direct_response": {"status": 421}})
Bucket = dict[RouteId, tuple[Ranked, ...]]


@dataclass
class Table:
    listeners: frozenset[str] = frozenset()
    """Host names of all listeners of the port."""
    own: frozenset[str] = frozenset()
    """Those whose requests are looked up here."""
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    """``(listener's host name, host name) -> routes``."""
    wide: dict[str, set[str]] = field(default_factory=dict)
    """Listener's host name → wildcards under it."""
    hosts: dict[str, bytes] = field(default_factory=dict)
    """Domain → its virtual host, as a field of the configuration."""
    dirty: set[str] = field(default_factory=set)

    def domains(self) -> set[str]:
        own = {host for listener, host in self.buckets if listener in self.own}
        return own | self.listeners

    def touch(self, hostname: str) -> None:
        """Make the virtual hosts dirty that a host name's routes stand in."""
        self.dirty.add(hostname)
        if hostname.startswith("*"):
            self.dirty.update(domain for domain in self.hosts if covers(hostname, domain))

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

    def set_listeners(self, name: str, listeners: Iterable[str], own: Iterable[str]) -> None:
        """Say which listeners a table is for; all its virtual hosts are made anew when that changed."""
        table = self.tables.setdefault(name, Table())
        wanted = frozenset(listeners), frozenset(own)
        if (table.listeners, table.own) != wanted:
            before = table.domains() | set(table.hosts)
            table.listeners, table.own = wanted
            table.dirty |= before | table.domains()
        self.changed.add(name)

    def drop(self, name: str) -> None:
        """Forget that a table has listeners. What routes put there stays until they take it away."""
        table = self.tables.get(name)
        if table is not None:
            self.set_listeners(name, (), ())

    def put(self, route: RouteId, old: dict[Place, tuple[Ranked, ...]], new: dict[Place, tuple[Ranked, ...]]) -> None:
        """Take over what a route puts where."""
        for place in old.keys() | new.keys():
            before, after = old.get(place, ()), new.get(place, ())
            if before == after:
                continue
            table = self.tables.setdefault(place.table, Table())
            key = place.listener_hostname, place.hostname
            bucket = table.buckets.setdefault(key, {})
            if after:
                bucket[route] = after
            else:
                bucket.pop(route, None)
            wide = table.wide.setdefault(place.listener_hostname, set())
            if not bucket:
                del table.buckets[key]
                wide.discard(place.hostname)
            elif place.hostname.startswith("*"):
                wide.add(place.hostname)
            table.touch(place.hostname)
            self.changed.add(place.table)

    def encoded(self) -> dict[str, bytes | None]:
        """Return the tables that changed since the last call; None for one that is gone."""
        result: dict[str, bytes | None] = {}
        for name in self.changed:
            table = self.tables[name]
            for domain in table.dirty:
                content = table.virtual_host(domain)
                if content is None:
                    table.hosts.pop(domain, None)
                else:
                    table.hosts[domain] = content
            table.dirty.clear()
            if not table.listeners:
                result[name] = None
                if not table.buckets:
                    del self.tables[name]
                continue
            head = encode(CONFIGURATION, {"name": name, "ignore_port_in_host_matching": True})
            result[name] = b"".join((head, *table.hosts.values()))
        self.changed.clear()
        return result
