"""TLSRoute, TCPRoute, UDPRoute: where connections and datagrams of a listener go. Source: Gateway API v1."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters import attached
from sampan.gateway.kinds import resources as r
from sampan.gateway.middlewares import tcp
from sampan.gateway.middlewares.limits import LIMITS
from sampan.gateway.model.backends import ClusterRef, backend_cluster
from sampan.gateway.model.listeners import ListenerId
from sampan.gateway.model.parents import attached_route
from sampan.gateway.model.routes import RouteId, RouteModel, Share, Stream
from sampan.gateway.model.verdicts import Unresolved, Unsupported, Verdict
from sampan.gateway.model.world import World, age_key, key_of
from sampan.gateway.xds.encode import encode_any
from sampan.schema.objects import Object


def stream_route_model(world: World, kind: str, key: str) -> RouteModel | None:
    """Return what a TLSRoute, TCPRoute or UDPRoute comes to, None when it is gone or has no parent of ours."""
    found = attached_route(world, kind, key)
    if found is None:
        return None
    route, parents = found
    problems: list[Verdict] = []
    shares, dropped = shares_of(world, route, problems), list[str]()
    filters: list[dict[str, Any]] = []
    try:
        filters = filters_of(world, route)
    except Unresolved as error:
        problems.append(error.verdict)
        shares = ()
    except Unsupported as error:
        dropped.append(f"rule 0: {error}")
    counted, encoded = any(map(tcp.is_counted, filters)), tuple(map(encode_any, filters))
    streams: dict[ListenerId, Stream] = {}
    for parent in parents:
        for attachment in parent.attachments if not dropped else ():
            before = streams.get(attachment.listener.id)
            hostnames = (*(before.hostnames if before else ()), *attachment.hostnames)
            stream = Stream(
                age_key(route), RouteId(kind, key), tuple(dict.fromkeys(hostnames)), shares, encoded, counted
            )
            streams[attachment.listener.id] = stream
    clusters: set[ClusterRef] = {share.cluster for share in shares if share.cluster is not None} if streams else set()
    return RouteModel(
        RouteId(kind, key),
        tuple(parents),
        {},
        streams,
        tuple(sorted({*clusters, LIMITS} if streams and counted else clusters)),
        tuple(sorted(clusters)),
        {},
        tuple(dict.fromkeys(problems)),
        tuple(dropped),
        len(route["spec"].get("rules") or ()),
    )


def filters_of(world: World, route: Object) -> list[dict[str, Any]]:
    """Return the network filters of the MiddlewareTCPs that a route's annotation names. Raises ``Unsupported``,
    ``Unresolved``."""
    found = []
    for reference in attached.references(attached.named(route), r.TRAEFIK_TCP_MIDDLEWARES.kind):
        key = f"{route['metadata']['namespace']}/{reference['name']}"
        if route["kind"] == "UDPRoute":
            raise Unsupported(f"annotation {r.MIDDLEWARES_ANNOTATION}: a UDPRoute has no middlewares")
        obj = world.get(r.world_kind(r.TRAEFIK_TCP_MIDDLEWARES), key) if reference["group"] == r.TRAEFIK_GROUP else None
        if obj is None:
            raise Unresolved("InvalidKind", f"MiddlewareTCP.{reference['group']} {key} does not exist")
        try:
            counted_as = f"MiddlewareTCP {key} {route['kind']} {key_of(route)}"
            found.append(tcp.network_filter(obj.get("spec") or {}, counted_as))
        except Unsupported as error:
            raise Unsupported(f"MiddlewareTCP {key}: {error}") from error
    return found


def shares_of(world: World, route: Object, problems: list[Verdict]) -> tuple[Share, ...]:
    shares = []
    protocol = "udp" if route["kind"] == "UDPRoute" else ""
    for rule in route["spec"].get("rules") or ():
        for reference in rule.get("backendRefs") or ():
            cluster = None
            try:
                cluster = backend_cluster(world, route, reference, protocol=protocol)
            except Unresolved as error:
                problems.append(error.verdict)
            if reference.get("weight", 1) > 0:
                shares.append(Share(cluster, reference.get("weight", 1)))
    return tuple(shares)
