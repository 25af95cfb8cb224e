"""What every route comes to, whatever its kind: its parents, what it puts where, what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.listeners import ListenerId
from sampan.gateway.model.parents import ParentVerdict
from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.verdicts import Verdict


class RouteId(NamedTuple):
    kind: str
    key: str


class Place(NamedTuple):
    """Where routes for a host stand: in which table, under which listener's host name, for which host."""

    table: str
    listener_hostname: str
    hostname: str


class Share(NamedTuple):
    """A backend of connections or datagrams; without a cluster its share is refused."""

    cluster: ClusterRef | None
    weight: int


class Stream(NamedTuple):
    """What becomes of a listener's connections: the oldest route wins."""

    age: tuple[str, str, str]
    route: RouteId
    hostnames: tuple[str, ...]
    shares: tuple[Share, ...]
    filters: tuple[bytes, ...] = ()
    """Envoy's network filters before the one that forwards."""
    counted: bool = False
    """Whether the end of a connection has to be told to our service of limits."""


@dataclass(frozen=True, slots=True)
class RouteModel:
    id: RouteId
    parents: tuple[ParentVerdict, ...]
    places: dict[Place, tuple[Ranked, ...]]
    streams: dict[ListenerId, Stream]
    clusters: tuple[ClusterRef, ...]
    """Sorted, and so the next: sets would be the larger part of a route."""
    backends: tuple[ClusterRef, ...]
    """The clusters, and those that a policy closes."""
    http_filters: dict[str, frozenset[HttpFilter]]
    """By table."""
    problems: tuple[Verdict, ...]
    """References that could not be resolved."""
    dropped: tuple[str, ...]
    """Why rules are not served at all, one text for each."""
    rules: int
    secrets: frozenset[str] = frozenset()
    """SDS names of what its filters ask for."""
