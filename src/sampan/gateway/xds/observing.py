"""What a Gateway tells of its requests: access logs to a file, to stdout or by OTLP, and spans by OTLP.

Asked for by ``accessLog`` and ``tracing`` of GatewayParameters. Source: Envoy's ``config.accesslog.v3`` and
``config.trace.v3``; the OpenTelemetry protocol.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.observers import OBSERVERS, observer
from sampan.gateway.model.world import Surroundings

FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
STDOUT_LOG = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
OTLP_LOG = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
OTLP_SPANS = "envoy.config.trace.v3.OpenTelemetryConfig"
DEFAULT_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" "%ROUTE_NAME%"\n'
)
OPERATION = "%REQ(:METHOD)% %ROUTE_NAME%"
"""What a span is called."""
Settings = dict[str, Any]


def observers_of(gateway: GatewayModel) -> set[ClusterRef]:
    """Return the clusters that a Gateway's logs and spans go to."""
    found = (observer(gateway.parameters, name, gateway.key) for name in OBSERVERS)
    return {ref for ref in found if ref is not None}


def access_logs(gateway: GatewayModel, surroundings: Surroundings) -> list[Settings]:
    """Return the access logs that GatewayParameters ask for; all in one format."""
    settings = gateway.parameters.get("accessLog")
    if settings is None:
        return []
    logs: list[Settings] = []
    log_format = format_of(settings)
    if settings.get("stdout"):
        logs.append({"name": "stdout", "typed_config": {"@type": STDOUT_LOG, "log_format": log_format}})
    ref = observer(gateway.parameters, "accessLog.otlp", gateway.key)
    if ref is not None:
        logs.append({"name": "otlp", "typed_config": otlp_log(settings, ref.name, gateway.key)})
    if settings.get("path") or not logs:
        path = settings.get("path") or f"{surroundings.log_dir}/access.log"
        logs.append({"name": "file", "typed_config": {"@type": FILE_LOG, "path": path, "log_format": log_format}})
    return logs


def format_of(settings: Settings) -> Settings:
    if settings.get("json"):
        return {"json_format": {"fields": {key: {"string_value": value} for key, value in settings["json"].items()}}}
    line = settings.get("format") or DEFAULT_LOG
    return {"text_format_source": {"inline_string": line if line.endswith("\n") else line + "\n"}}


def otlp_log(settings: Settings, cluster: str, gateway: str) -> Settings:
    """Return a logger that sends records: the line as body, or the fields of ``json`` as attributes."""
    config: Settings = {
        "@type": OTLP_LOG,
        "grpc_service": grpc(cluster),
        "log_name": "access",
        "resource_attributes": attributes({"service.name": service_name(settings["otlp"]), "gateway": gateway}),
    }
    if settings.get("json"):
        return {**config, "attributes": attributes(settings["json"])}
    return {**config, "body": {"string_value": (settings.get("format") or DEFAULT_LOG).rstrip("\n")}}


def attributes(pairs: dict[str, str]) -> Settings:
    """Return a ``KeyValueList`` of texts."""
    return {"values": [{"key": key, "value": {"string_value": value}} for key, value in pairs.items()]}


def service_name(settings: Settings) -> str:
    return settings.get("serviceName") or "sampan-gateway"


def grpc(cluster: str) -> Settings:
    return {"envoy_grpc": {"cluster_name": cluster}, "timeout": {"seconds": 1}}


def tracing(gateway: GatewayModel, listener: str) -> Settings | None:
    """Return spans by OTLP over gRPC, with the Gateway's, the listener's and the route's name."""
    ref = observer(gateway.parameters, "tracing", gateway.key)
    if ref is None:
        return None
    settings = gateway.parameters["tracing"]
    exporter = {"@type": OTLP_SPANS, "grpc_service": grpc(ref.name), "service_name": service_name(settings)}
    tags: list[Settings] = [
        {"tag": "gateway", "literal": {"value": gateway.key}},
        {"tag": "listener", "literal": {"value": listener}},
        {"tag": "route", "value": "%ROUTE_NAME%"},
    ]
    return {
        "random_sampling": {"value": float(settings.get("samplingPercent", 100))},
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": exporter},
        "custom_tags": tags,
        "operation": OPERATION,
    }
