"""TLSRoute, TCPRoute, UDPRoute: where connections and datagrams of a listener go. Source: Gateway API v1."""

from __future__ import annotations

from sampan.gateway.model.backends import ClusterRef, backend_cluster
from sampan.gateway.model.listeners import ListenerId
from sampan.gateway.model.parents import attach
from sampan.gateway.model.routes import RouteId, RouteModel, Share, Stream
from sampan.gateway.model.verdicts import Unresolved, Verdict
from sampan.gateway.model.world import World, age_key
from sampan.schema.objects import Object


def stream_route_model(world: World, kind: str, key: str) -> RouteModel | None:
    """Return what a TLSRoute, TCPRoute or UDPRoute comes to, None when it is gone or has no parent of ours."""
    route = world.get(kind, key)
    if route is None:
        return None
    route = {**route, "kind": kind}
    parents = attach(world, route)
    if not parents:
        return None
    problems: list[Verdict] = []
    shares = shares_of(world, route, problems)
    streams: dict[ListenerId, Stream] = {}
    for parent in parents:
        for attachment in parent.attachments:
            before = streams.get(attachment.listener.id)
            hostnames = (*(before.hostnames if before else ()), *attachment.hostnames)
            stream = Stream(age_key(route), RouteId(kind, key), tuple(dict.fromkeys(hostnames)), shares)
            streams[attachment.listener.id] = stream
    clusters: set[ClusterRef] = {share.cluster for share in shares if share.cluster is not None} if streams else set()
    return RouteModel(
        RouteId(kind, key),
        tuple(parents),
        {},
        streams,
        frozenset(clusters),
        frozenset(clusters),
        {},
        tuple(dict.fromkeys(problems)),
        (),
        len(route["spec"].get("rules") or ()),
    )


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
