"""What a route asks our own Rate Limit Service (``limits/``), by Envoy's ``ratelimit`` filter.

Two filters: one asks before a request goes on, the other tells when it has ended, however it ended. They are two so that
the end is told also of a request that ends while it is asked about.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.limits import descriptors
from sampan.gateway.middlewares import sources
from sampan.gateway.model.backends import LIMITS_CLUSTER, ClusterRef

TYPE = "envoy.extensions.filters.http.ratelimit.v3.RateLimit"
PER_ROUTE = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute"
LIMITS = ClusterRef("Limits", LIMITS_CLUSTER, 0)
SERVICE = {
    "grpc_service": {"envoy_grpc": {"cluster_name": LIMITS_CLUSTER, "authority": "limits"}},
    "transport_api_version": 2,
}
TIMEOUT = {"seconds": 1}
ORDER = 40
UNAVAILABLE = 503


def ask(draft: Draft, site: Site, limit: dict[str, Any], *, fails_open: bool = True) -> None:
    """Let a route ask about a limit: an action of a descriptor, and those of who is counted."""
    site.clusters.add(LIMITS)
    name = "limits" if fails_open else "limits/closed"
    config = {
        "@type": TYPE,
        "domain": descriptors.DOMAIN,
        "timeout": TIMEOUT,
        "failure_mode_deny": not fails_open,
        "status_on_error": {"code": UNAVAILABLE},
        "rate_limit_service": SERVICE,
        "disable_x_envoy_ratelimited_header": True,
        "stat_prefix": "limits",
    }
    add(draft, HttpFilter.of(ORDER, name, config), limit)


def tell_end(draft: Draft) -> None:
    """Let a route tell when a request has ended."""
    config = {
        "@type": TYPE,
        "domain": descriptors.DOMAIN,
        "timeout": TIMEOUT,
        "rate_limit_service": SERVICE,
        "stat_prefix": "limits",
    }
    entry = HttpFilter.of(ORDER - 1, "limits/ended", config)
    if entry.name not in draft.route.get("typed_per_filter_config", {}):
        actions = [generic(descriptors.ENDED, "yes"), sources.kept(descriptors.IDENTITY, sources.IDENTITY)]
        add(draft, entry, {"actions": actions, "apply_on_stream_done": True})


def add(draft: Draft, entry: HttpFilter, limit: dict[str, Any]) -> None:
    known = draft.route.setdefault("typed_per_filter_config", {})
    before = known.pop(entry.name, None) or {"@type": PER_ROUTE, "domain": descriptors.DOMAIN, "rate_limits": []}
    draft.need(entry, {**before, "rate_limits": [*before["rate_limits"], limit]})


def generic(key: str, value: str) -> dict[str, Any]:
    return {"generic_key": {"descriptor_key": key, "descriptor_value": value}}
