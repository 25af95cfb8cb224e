"""What Envoy counts, and by which labels Prometheus sees it: all of it would be half a gigabyte at some thousand clusters.

Names are Envoy's; what it has in a name (``http.gateway/shop/front/443.downstream_rq_total``) become labels:

| of | labels |
|---|---|
| a Gateway's port | ``gateway_namespace``, ``gateway_name``, ``gateway_port`` |
| a Service's port | ``service_namespace``, ``service_name``, ``service_port``; ``envoy_cluster_name`` |
| a rule of a route, where GatewayParameters ask for it | ``route_namespace``, ``route_name``, ``route_rule``, ``host`` |

Source: Envoy's ``config.metrics.v3``.
"""

from __future__ import annotations

from typing import Any

PREFIXES = ("server.", "listener_manager.", "cluster_manager.")
GATEWAYS = r"http\.gateway/[^.]*\.([^r]|r[^d]|rd[^s]).*"
"""But not what is counted of tables of routes: their names change (``offers.name_for``)."""
CLUSTERS = r"cluster\..*\.(upstream_rq_(total|[1-5]xx|active|retry|timeout)|upstream_cx_(active|connect_fail))"
ROUTES = r"vhost\..*\.route\..*\.upstream_rq_(total|[1-5]xx|retry|timeout|time)"
INCLUDED: list[dict[str, Any]] = [
    *({"prefix": prefix} for prefix in PREFIXES),
    *({"safe_regex": {"regex": expression}} for expression in (GATEWAYS, CLUSTERS, ROUTES)),
]
DEFAULT_TAGS = ("envoy.response_code_class", "envoy.response_code", "envoy.cluster_name")
"""Those of Envoy's own that cut nothing else: its tag for a virtual host takes a host's name up to the first dot."""
PLACES = {
    "gateway_namespace": r"^http\.(gateway/([^/]+)/)",
    "gateway_name": r"^http\.gateway/[^/]+/(([^/.]+)/)",
    "gateway_port": r"^http\.gateway/[^/]+/[^/.]+/((\d+)\.)",
    "service_namespace": r"^cluster\.((?:Service/)?([^/.]+)/)[^/.]+/\d",
    "service_name": r"^cluster\.[^/.]+/(([^/.]+)/)\d",
    "service_port": r"^cluster\.[^/.]+/[^/.]+/((\d+))",
    "host": r"^vhost\.((.+)\.)route\.",
    "route_namespace": r"\.route\.(([^/]+)/)",
    "route_name": r"\.route\.[^/]+/(([^/]+)/)",
    "route_rule": r"\.route\.[^/]+/[^/]+/((\d+)\.)",
}


def stats_config() -> dict[str, Any]:
    """Return Envoy's ``StatsConfig`` as JSON."""
    tags: list[dict[str, str]] = [{"tag_name": name} for name in DEFAULT_TAGS]
    tags += [{"tag_name": name, "regex": expression} for name, expression in PLACES.items()]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": INCLUDED}},
        "use_all_default_tags": False,
        "stats_tags": tags,
    }


def gateway_prefix(gateway: str, port: int) -> str:
    """Return what the statistics of a Gateway's port begin with. Dots part names there; no object's name has a ``_``."""
    return f"gateway/{gateway.replace('.', '_')}/{port}"


def route_prefix(route: str, rule: int) -> str:
    """Return what the statistics of a route's rule begin with."""
    return f"{route.replace('.', '_')}/{rule}"
