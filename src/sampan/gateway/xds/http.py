"""The HTTP side of a listener: Envoy's connection manager with its filters, access log and tracing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.model.world import Surroundings
from sampan.gateway.xds.clients import manager_limits
from sampan.gateway.xds.scopes import OVERWRITE, TABLE_HEADER, scoped_routes
from sampan.gateway.xds.tls import ADS_SOURCE

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
OTLP = "envoy.config.trace.v3.OpenTelemetryConfig"
HTTP3, KEEP_UNCHANGED, ADD_IF_ABSENT, SANITIZE_SET = 3, 1, 1, 3
DEFAULT_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" "%ROUTE_NAME%"\n'
)


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
    surroundings: Surroundings,
    *,
    tracing_cluster: str = "",
    http3: bool = False,
    client_certificates: bool = False,
    scoped: bool = False,
) -> dict[str, Any]:
    """Return the network filter for a table of routes: the filters that they need in order, then the router."""
    chain = [http_filter(entry, routes) for entry in sorted(filters)]
    router = {"@type": ROUTER, "suppress_envoy_headers": True}
    chain.append({"name": "envoy.filters.http.router", "typed_config": router})
    manager: dict[str, Any] = {
        "@type": HCM,
        "stat_prefix": "gateway",
        **(scoped_routes(routes) if scoped else {"rds": {"config_source": ADS_SOURCE, "route_config_name": routes}}),
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
        manager |= {"codec_type": HTTP3, "http3_protocol_options": {}}
    if client_certificates:
        details = {"subject": {"value": True}, "dns": True, "uri": True}
        manager |= {"forward_client_cert_details": SANITIZE_SET, "set_current_client_cert_details": details}
    log = access_log(parameters.get("accessLog"), surroundings)
    if log is not None:
        manager["access_log"] = [log]
    if tracing_cluster:
        manager["tracing"] = tracing(parameters["tracing"], tracing_cluster)
    return {"name": "http", "typed_config": manager}


def access_log(settings: dict[str, Any] | None, surroundings: Surroundings) -> dict[str, Any] | None:
    """Return the access log that GatewayParameters ask for, None when they ask for none."""
    if settings is None:
        return None
    if settings.get("json"):
        fields = {key: {"string_value": value} for key, value in settings["json"].items()}
        log_format: dict[str, Any] = {"json_format": {"fields": fields}}
    else:
        line = settings.get("format") or DEFAULT_LOG
        log_format = {"text_format_source": {"inline_string": line if line.endswith("\n") else line + "\n"}}
    path = settings.get("path") or f"{surroundings.log_dir}/access.log"
    return {"name": "file", "typed_config": {"@type": FILE_LOG, "path": path, "log_format": log_format}}


def tracing(settings: dict[str, Any], cluster: str) -> dict[str, Any]:
    """Return spans by OTLP over gRPC to a cluster."""
    exporter = {
        "@type": OTLP,
        "grpc_service": {"envoy_grpc": {"cluster_name": cluster}, "timeout": {"seconds": 1}},
        "service_name": settings.get("serviceName") or "sampan-gateway",
    }
    return {
        "random_sampling": {"value": float(settings.get("samplingPercent", 100))},
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": exporter},
    }


def static_manager(prefix: str, virtual_hosts: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a connection manager with routes of its own, for listeners inside Envoy."""
    return {
        "@type": HCM,
        "stat_prefix": prefix,
        "route_config": {"name": prefix, "virtual_hosts": virtual_hosts},
        "http_filters": filters,
    }
