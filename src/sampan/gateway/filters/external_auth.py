"""ExternalAuth: another server says whether a request may pass. Source: Gateway API v1 HTTPExternalAuthFilter (GEP-1494)."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unresolved
from sampan.schema.objects import Object

NAME = "external-auth"
EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
PER_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
TIMEOUT = {"seconds": 10}


def apply(settings: Object, draft: Draft, site: Site) -> None:
    grpc = settings["protocol"] == "GRPC"
    cluster = site.cluster(settings["backendRef"], "h2" if grpc else "")
    if cluster is None:
        raise Unresolved("BackendNotFound", "the TLS policy of the authorization server is not well")
    service: dict[str, Any] = {}
    body = settings.get("forwardBody") or {}
    if body.get("maxSize"):
        buffer = {"max_request_bytes": body["maxSize"], "allow_partial_message": False}
        service["with_request_body"] = buffer
    if grpc:
        service["grpc_service"] = {"envoy_grpc": {"cluster_name": cluster.name}, "timeout": TIMEOUT}
        allowed = (settings.get("grpc") or {}).get("allowedHeaders") or []
        if allowed:
            service["allowed_headers"] = exact(allowed)
    else:
        http = settings.get("http") or {}
        answer = {"allowed_upstream_headers": exact(http.get("allowedResponseHeaders") or [])}
        service["http_service"] = {
            "server_uri": {"uri": f"http://{cluster.name}", "cluster": cluster.name, "timeout": TIMEOUT},
            "path_prefix": (http.get("path") or "").rstrip("/"),
            "authorization_response": answer,
        }
        service["allowed_headers"] = exact(http.get("allowedHeaders") or ["*"])
    # a filter for each server: what it forwards is not a route's to say
    filter_name = f"{NAME}/{site.namespace}/{cluster.name}"
    config = {
        "@type": EXT_AUTHZ,
        "transport_api_version": 2,
        "status_on_error": {"code": 403},
        "clear_route_cache": False,
        **service,
    }
    draft.need(HttpFilter.of(20, filter_name, config), {"@type": PER_ROUTE, "check_settings": {}})


def exact(names: list[str]) -> dict[str, Any]:
    patterns = [{"prefix": ""} if name == "*" else {"exact": name.lower(), "ignore_case": True} for name in names]
    return {"patterns": patterns}
