"""The HTTP side of a listener: Envoy's connection manager with its filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.xds.clients import STREAM_LIMITS, manager_limits
from sampan.gateway.xds.scopes import OVERWRITE, TABLE_HEADER, scoped_routes
from sampan.gateway.xds.tls import ADS_SOURCE

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
UPSTREAM_CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
HTTP3, KEEP_UNCHANGED, ADD_IF_ABSENT, SANITIZE_SET = 3, 1, 1, 3


def http_filter(entry: HttpFilter, routes: str) -> dict[str, Any]:
    """Return a filter of the chain, asleep until a route wakes it."""
    if entry.name == "table":
        append = {"header": {"key": TABLE_HEADER, "value": routes.replace("%", "%%")}, "append_action": OVERWRITE}
        mutation = {"@type": MUTATION, "mutations": {"request_mutations": [{"append": append}]}}
        return {"name": entry.name, "typed_config": mutation, "disabled": True}
    if not entry.config:
        discovery = {"config_source": ADS_SOURCE, "type_urls": list(entry.type_urls)}
        return {"name": entry.name, "config_discovery": discovery, "disabled": True}
    return {"name": entry.name, "typed_config": entry.config, "disabled": not entry.awake}


def alternative_service(port: int) -> HttpFilter:
    """Return the filter that tells clients of HTTP/3 on a UDP port. Source: RFC 9114 section 3.1.1, RFC 7838."""
    append = {"header": {"key": "alt-svc", "value": f'h3=":{port}"; ma=86400'}, "append_action": ADD_IF_ABSENT}
    mutation = {"@type": MUTATION, "mutations": {"response_mutations": [{"append": append}]}}
    return HttpFilter.of(1, "alt-svc", mutation, awake=True)


def connection_manager(
    routes: str,
    filters: Iterable[HttpFilter],
    parameters: dict[str, Any],
    *,
    prefix: str = "gateway",
    logs: Sequence[dict[str, Any]] = (),
    tracing: dict[str, Any] | None = None,
    http3: bool = False,
    client_certificates: bool = False,
    scoped: bool = False,
    asks_for: str = "",
) -> dict[str, Any]:
    """Return the network filter for a table of routes: the filters that they need in order, then the router. ``asks_for``:
    the name by which it asks for the table."""
    ordered = sorted(filters)
    chain = [http_filter(entry, routes) for entry in ordered if not entry.on_tries]
    router: dict[str, Any] = {"@type": ROUTER, "suppress_envoy_headers": True}
    if tries := [{"name": entry.name, "typed_config": entry.config} for entry in ordered if entry.on_tries]:
        codec = {"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": UPSTREAM_CODEC}}
        router["upstream_http_filters"] = [*tries, codec]
    chain.append({"name": "envoy.filters.http.router", "typed_config": router})
    table = {"rds": {"config_source": ADS_SOURCE, "route_config_name": asks_for or routes}}
    manager: dict[str, Any] = {
        "@type": HCM,
        "stat_prefix": prefix,
        **(scoped_routes(routes) if scoped else table),
        "http_filters": chain,
        "use_remote_address": {"value": True},
        "preserve_external_request_id": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "normalize_path": {"value": True},
        "server_header_transformation": 2,
        "path_with_escaped_slashes_action": KEEP_UNCHANGED,
        **manager_limits(parameters.get("clients") or {}),
    }
    if http3:
        manager |= {"codec_type": HTTP3, "http3_protocol_options": {"quic_protocol_options": STREAM_LIMITS}}
    if client_certificates:
        details = {"subject": {"value": True}, "dns": True, "uri": True}
        manager |= {"forward_client_cert_details": SANITIZE_SET, "set_current_client_cert_details": details}
    if logs:
        manager["access_log"] = list(logs)
    if tracing is not None:
        manager["tracing"] = tracing
    return {"name": "http", "typed_config": manager}


def static_manager(prefix: str, virtual_hosts: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a connection manager with routes of its own, for listeners inside Envoy."""
    return {
        "@type": HCM,
        "stat_prefix": prefix,
        "route_config": {"name": prefix, "virtual_hosts": virtual_hosts},
        "http_filters": filters,
    }
