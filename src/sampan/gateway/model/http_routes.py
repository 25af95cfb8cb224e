"""HTTPRoute and GRPCRoute as Envoy routes: matches, filters, backends.

Every match of every rule becomes an encoded route with its rank: exact before expression before prefix, longer paths first,
a method, more headers, more parameters, then the older route, then the earlier rule. A rule that cannot be served is
dropped; one whose references lead nowhere answers 500. Source: Gateway API v1 HTTPRoute and GRPCRoute; Envoy's
``config.route.v3``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from sys import intern
from typing import Any, NamedTuple

from sampan.gateway.filters import ALWAYS, Draft, HttpFilter, Site, apply_filter, attached, safe_retry, session
from sampan.gateway.model import matches
from sampan.gateway.model.backends import REFUSING_CLUSTER, ClusterRef
from sampan.gateway.model.durations import duration, milliseconds
from sampan.gateway.model.mesh import clients_match, is_consumer
from sampan.gateway.model.parents import attached_route
from sampan.gateway.model.policies import traffic_policy
from sampan.gateway.model.ranked import ROUTE, Ranked
from sampan.gateway.model.routes import Place, RouteId, RouteModel
from sampan.gateway.model.verdicts import Unresolved, Unsupported, Verdict, malformed
from sampan.gateway.model.world import World, age_key, key_of
from sampan.gateway.stats import route_prefix
from sampan.gateway.xds.encode import EncodingError, encode
from sampan.gateway.xds.offers import digest_of_filter
from sampan.schema.objects import Object

GRPC_WEB = HttpFilter.of(15, "grpc-web", {"@type": "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}, awake=True)
"""Browsers speak gRPC-Web; what is none passes as it is."""
NO_FILTERS: frozenset[HttpFilter] = frozenset()
KEPT: dict[tuple[Callable[[Any], Any], Hashable], Any] = {}
MOST_KEPT = 1000
NOTHING = ("", "")
"""No Middlewares of a Gateway."""
EVERYTHING = {"http": {"path": {"type": "PathPrefix", "value": "/"}}, "grpc": {}}


class Context(NamedTuple):
    """What of a listener and its Gateway a route's meaning depends on."""

    port: int
    consumer: bool = False
    """Whether only requests from pods of the route's own namespace are meant."""
    secure: bool = False
    """Whether the listener ends TLS."""
    client_certificate: str = ""
    gateway: tuple[str, str] = NOTHING
    """Its key, and what it says of Middlewares for all its routes."""
    counted: bool = False
    """Whether each rule has metrics of its own."""
    underscores: bool = True
    """Whether headers of clients may have a ``_`` in their name."""


@dataclass
class Compiled:
    """The routes of one HTTPRoute for one kind of listener."""

    ranked: list[Ranked] = field(default_factory=list)
    clusters: set[ClusterRef] = field(default_factory=set)
    backends: set[ClusterRef] = field(default_factory=set)
    http_filters: set[HttpFilter] = field(default_factory=set)
    problems: list[Verdict] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)


def http_route_model(world: World, kind: str, key: str) -> RouteModel | None:
    """Return what an HTTPRoute or GRPCRoute comes to, None when it is gone or has no parent of ours."""
    found = attached_route(world, kind, key)
    if found is None:
        return None
    route, parents = found
    compiled: dict[Context, Compiled] = {}
    namespace = key.partition("/")[0]
    places: dict[Place, tuple[Ranked, ...]] = {}
    filters: dict[str, frozenset[HttpFilter]] = {}
    for parent in parents:
        gateway = world.get("GatewayModel", parent.gateway)  # None for a Service
        for attachment in parent.attachments:
            listener = attachment.listener
            context = Context(listener.port, is_consumer(parent.gateway, namespace), listener.terminates)
            if gateway is not None:
                context = context._replace(
                    client_certificate=gateway.client_certificate,
                    gateway=(parent.gateway, gateway.middlewares) if gateway.middlewares else NOTHING,
                    underscores=(gateway.parameters.get("clients") or {}).get("underscoresInHeaders") == "Allow",
                    counted=bool((gateway.parameters.get("metrics") or {}).get("routes")),
                )
            if context not in compiled:
                compiled[context] = compile_rules(world, route, context)
            table = attachment.listener.table(parent.gateway)
            filters[table] = filters.get(table, NO_FILTERS) | compiled[context].http_filters
            for hostname in attachment.hostnames:
                place = Place(intern(table), attachment.listener.hostname, hostname)
                places[place] = tuple(compiled[context].ranked)
    if not compiled:  # not attached: what is wrong with its references is told all the same
        nowhere = compiled[Context(80)] = compile_rules(world, route, Context(80))
        nowhere.clusters.clear()
        nowhere.secrets.clear()
    first = next(iter(compiled.values()))
    clusters = tuple(sorted({ref for entry in compiled.values() for ref in entry.clusters}))
    backends = tuple(sorted({ref for entry in compiled.values() for ref in entry.backends}))
    needed = tuple((intern(table), kept_once(found)) for table, found in filters.items())
    return RouteModel(
        RouteId(kind, key),
        tuple(parents),
        places,
        {},
        clusters,
        clusters if clusters == backends else backends,
        kept_once(needed, dict),
        tuple(dict.fromkeys(first.problems)),
        tuple(first.dropped),
        len(route["spec"].get("rules") or ()),
        kept_once(frozenset().union(*(entry.secrets for entry in compiled.values()))),
    )


def kept_once(found: Hashable, made: Callable[[Any], Any] = frozenset) -> Any:
    """Return what is made of something, the same for all routes that come to it: thousands need the same few filters, or
    none. Nobody changes it."""
    if len(KEPT) > MOST_KEPT:
        KEPT.clear()
    key = made, found
    if key not in KEPT:
        KEPT[key] = made(found)
    return KEPT[key]


def compile_rules(world: World, route: Object, context: Context) -> Compiled:
    """Return the Envoy routes of all rules, for one kind of listeners and Gateways."""
    result = Compiled()
    grpc = route["kind"] == "GRPCRoute"
    if grpc:
        result.http_filters.add(GRPC_WEB)
    to_match, rank = (matches.grpc_match, matches.grpc_rank) if grpc else (matches.http_match, matches.http_rank)
    age, key = age_key(route), key_of(route)
    for number, rule in enumerate(route["spec"].get("rules") or ()):
        entries = rule.get("matches") or [EVERYTHING["grpc" if grpc else "http"]]
        try:
            ranked = []
            for index, match in enumerate(entries):
                certificate, secure = context.client_certificate, context.secure
                site = Site(world, route, rule, match, context.port, certificate, result.clusters, secure)
                try:
                    envoy_match = to_match(match)
                    if not context.underscores:
                        matches.refuse_underscores(match)
                except Unsupported as error:
                    raise Unsupported(f"matches[{index}].{error}") from None
                if context.consumer:
                    envoy_match.setdefault("headers", []).append(clients_match(world, site.namespace))
                what, needs = action(site, result, context.gateway)
                message = {"name": f"{key}/{number}", "match": envoy_match, **what}
                if context.counted:
                    message["stat_prefix"] = route_prefix(key, number)
                order = int(not context.consumer), *rank(match), age, route["kind"], number, index
                ranked.append(Ranked(order, encode(ROUTE, message), needs))
            result.ranked += ranked
        except Unsupported as error:
            result.dropped.append(f"rule {number}: {error}")
        except EncodingError as error:
            result.dropped.append(f"rule {number}: {malformed(error)}")
    return result


def action(site: Site, result: Compiled, gateway: tuple[str, str]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return what happens to a request that matches (header changes, filters, and where it goes), and the filters that its
    listener must have for it."""
    rule, draft = site.rule, Draft()
    try:
        attached.apply(draft, site, *gateway)
        for item in rule.get("filters") or ():
            apply_filter(item, draft, site)
        keep_sessions(draft, site)
    except Unresolved as error:
        result.problems.append(error.verdict)
        draft = Draft(direct_response={"status": 500})
    wanted = draft.http_filters - set(ALWAYS)
    needs = kept_once(frozenset(map(digest_of_filter, wanted)))
    result.http_filters |= wanted
    result.secrets |= draft.secrets
    result.problems += [Verdict(*note) for note in draft.notes]
    if draft.redirect is not None:
        return {**draft.route, "redirect": draft.redirect}, needs
    limited = {**limits(rule), **draft.forward}
    target = target_of(site, draft, result, own_tries="retry_policy" in limited)
    if draft.direct_response is not None or target is None:
        return {**draft.route, "direct_response": draft.direct_response or {"status": 500}}, needs
    if (
        rule.get("retry") is not None
        or (rule.get("timeouts") or {}).get("backendRequest")
        or "retry_policy" in draft.forward
    ):
        draft.route.setdefault("typed_per_filter_config", {})[safe_retry.FILTER.name] = safe_retry.ASLEEP
    return {**draft.route, "route": {**limited, **target}}, needs


def keep_sessions(draft: Draft, site: Site) -> None:
    """Apply the rule's session persistence, or that of its backends' traffic policy."""
    settings = site.rule.get("sessionPersistence")
    if settings is None:
        for reference in site.rule.get("backendRefs") or ():
            target = (
                f"{reference.get('kind', 'Service')} {reference.get('namespace') or site.namespace}/{reference['name']}"
            )
            policy = traffic_policy(site.world, intern(target))
            settings = settings or ((policy or {}).get("spec") or {}).get("sessionPersistence")
    if settings is not None:
        session.apply(settings, draft, site)


def limits(rule: Object) -> dict[str, Any]:
    """Return timeouts and retries. Source: GEP-1742, GEP-1731."""
    timeouts, retry = rule.get("timeouts") or {}, rule.get("retry")
    result: dict[str, Any] = {"timeout": duration(timeouts.get("request") or "0s")}
    each = timeouts.get("backendRequest")
    if retry is None and not (each and milliseconds(each)):
        return result  # as the cluster says
    policy = dict(safe_retry.POLICY)
    if retry is not None:
        policy["retry_on"] = "connect-failure,refused-stream,reset,retriable-status-codes"
        policy["num_retries"] = {"value": retry.get("attempts", 2)}
        policy["retriable_status_codes"] = list(retry.get("codes") or ())
        if retry.get("backoff"):
            policy["retry_back_off"] = {"base_interval": duration(retry["backoff"])}
    if each and milliseconds(each):
        policy["per_try_timeout"] = duration(each)
    result["retry_policy"] = policy
    return result


def target_of(site: Site, draft: Draft, result: Compiled, *, own_tries: bool) -> dict[str, Any] | None:
    """Return the cluster or weighted clusters; None when nothing can be reached. Notes the problems of backends."""
    shares = []
    protocol = "h2" if site.route["kind"] == "GRPCRoute" else ""
    for reference in site.rule.get("backendRefs") or ():
        weight = reference.get("weight", 1)
        name = REFUSING_CLUSTER
        try:
            cluster = site.cluster(reference, protocol, own_tries=own_tries)
            name = cluster.name if cluster is not None else REFUSING_CLUSTER
            kind, namespace = reference.get("kind", "Service"), reference.get("namespace") or site.namespace
            result.backends.add(ClusterRef(kind, intern(f"{namespace}/{reference['name']}"), 0))
        except Unresolved as error:
            result.problems.append(error.verdict)
        backend = Draft()
        for item in reference.get("filters") or ():
            on_backend = Site(
                site.world, site.route, site.rule, site.match, site.listener_port, "", site.clusters, on_backend=True
            )
            apply_filter(item, backend, on_backend)
        if weight > 0:
            shares.append({"name": name, "weight": {"value": weight}, **backend.route})
    if not shares or all(share["name"] == REFUSING_CLUSTER for share in shares):
        return None
    if any(share["name"] == REFUSING_CLUSTER for share in shares):
        result.clusters.add(REFUSES)
    if len(shares) == 1 and len(shares[0]) == 2:
        return {"cluster": shares[0]["name"]}
    return {"weighted_clusters": {"clusters": shares}}


REFUSES = ClusterRef("Refusing", REFUSING_CLUSTER, 0)
