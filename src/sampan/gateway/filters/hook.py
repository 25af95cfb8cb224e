"""Plugin (``gateway.sampan.dev``), by ExtensionRef: a Python function is asked, by Envoy's authorization filter, before the
request is routed. See ``plugins/`` for what stands behind it."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unresolved
from sampan.schema.objects import Object

EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
PER_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    key = settings["key"]
    if site.world.get("LivePlugin", key) is None:
        problem = site.world.get("PluginProblem", key) or "no version of it is live"
        raise Unresolved("InvalidPlugin", f"Plugin {key}: {problem}; no version of it is live")
    ask(draft, key, 30)
    problem = site.world.get("PluginProblem", key)
    if problem:
        draft.notes.append(("InvalidPlugin", f"Plugin {key}: {problem}; the version before it keeps serving"))


def ask(draft: Draft, key: str, order: int) -> None:
    """Let a route ask the function behind a plugin's socket before it is routed."""
    name = filter_name(key)
    config = {
        "@type": EXT_AUTHZ,
        "grpc_service": {"envoy_grpc": {"cluster_name": name, "authority": "plugin"}, "timeout": {"seconds": 40}},
        "status_on_error": {"code": 500},
        "transport_api_version": 2,
    }
    draft.need(HttpFilter.of(order, name, config), {"@type": PER_ROUTE, "check_settings": {}})


def filter_name(key: str) -> str:
    """Return the name of a plugin's filter, cluster and listener in Envoy."""
    return f"plugin/{key}"
