"""What a filter is: a function that changes a ``Draft`` of an Envoy route by its settings, or refuses.

    def apply(settings: dict, draft: Draft, site: Site) -> None:
        if settings.get("burst", 0) < 0:
            raise Unsupported("burst is negative")     # the rule is dropped, the route's status says why
        draft.need(HttpFilter("rate-limit", FILTER, order=40), per_route={"@type": PER_ROUTE, ...})

``settings`` is the filter's body in the route (``requestHeaderModifier: {…}``) or the spec of the object that an
ExtensionRef names. A reference that leads nowhere raises ``Unresolved``: the rule then answers 500. ``register`` (in
``__init__.py``) is the one list. Objects of the cluster are read by ``site.world.get(kind, key)``: what is read so is
noted, and the route is made anew when it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sampan.gateway.model.backends import ClusterRef, backend_cluster
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.model.world import World
from sampan.gateway.xds.encode import encode_any
from sampan.schema.objects import Object

AWAKE: dict[str, Any] = {"@type": "envoy.config.route.v3.FilterConfig", "config": b""}
"""How a route wakes a filter that it has nothing to tell."""


@dataclass(frozen=True, order=True, slots=True)
class HttpFilter:
    """A filter of Envoy's HTTP chain that routes need; listeners have those that their routes need, asleep until a route
    wakes them. Lower ``order`` comes first: authentication about 20, limits 40, changes 60, the router last."""

    order: int
    name: str
    config: bytes = b""
    """The encoded ``Any``; empty for one that is discovered (ECDS) under its name."""
    type_urls: tuple[str, ...] = ()
    awake: bool = False
    """Whether it works on every route of the listener, not only on those that wake it."""
    on_tries: bool = False
    """Whether it works on each try of the router's, at a backend; a route that tells it nothing is to be nothing to it."""

    @classmethod
    def of(
        cls, order: int, name: str, config: dict[str, Any], *, awake: bool = False, on_tries: bool = False
    ) -> HttpFilter:
        return cls(order, name, encode_any(config), awake=awake, on_tries=on_tries)


@dataclass(frozen=True)
class Site:
    """Where a filter stands."""

    world: World
    route: Object
    rule: Object
    match: Object
    listener_port: int
    client_certificate: str
    clusters: set[ClusterRef]
    """The clusters that the route leads to: a filter adds those that it calls."""
    secure: bool = False
    """Whether the request came by TLS that ended here."""
    middleware: str = ""
    """Kind and key of the Middleware that is applied."""
    on_backend: bool = False
    """Whether it stands at a backendRef: then only headers can be changed."""

    @property
    def namespace(self) -> str:
        return str(self.route["metadata"]["namespace"])

    def cluster(self, reference: Object, protocol: str = "", *, own_tries: bool = False) -> ClusterRef | None:
        """Return the cluster of a backendRef and note that it is used. Raises ``Unresolved``."""
        found = backend_cluster(
            self.world, self.route, reference, protocol=protocol, client_certificate=self.client_certificate
        )
        if found is not None:
            if own_tries:
                found = found._replace(own_tries=True)
            self.clusters.add(found)
        return found


@dataclass
class Draft:
    """An Envoy route in the making."""

    route: dict[str, Any] = field(default_factory=dict)
    """Fields of ``config.route.v3.Route`` besides match and action; of ``ClusterWeight`` at a backend."""
    forward: dict[str, Any] = field(default_factory=dict)
    """Fields of ``RouteAction``."""
    prefixed_rewrite: tuple[str, str] | None = None
    """Expression and substitution that take the place of ``forward["regex_rewrite"]`` where a prefix is put before what is
    left of a path, which may then be nothing."""
    redirect: dict[str, Any] | None = None
    direct_response: dict[str, Any] | None = None
    http_filters: set[HttpFilter] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    """SDS names of what its filters ask for."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Reason and message of what is not well with a reference though the rule is served."""

    def need(self, http_filter: HttpFilter, per_route: dict[str, Any] | None = None) -> None:
        """Ask for a filter of the chain, awake on this route with ``per_route`` as its configuration. Raises
        ``Unsupported`` where another has said otherwise: one of them would be passed over."""
        self.http_filters.add(http_filter)
        if per_route is not None:
            known = self.route.setdefault("typed_per_filter_config", {})
            if known.setdefault(http_filter.name, per_route) != per_route:
                raise Unsupported(f"{http_filter.name}: another filter of the route, or of its Gateway, says otherwise")


Filter = Callable[[Object, Draft, Site], None]
