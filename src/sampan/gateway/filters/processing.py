"""What a plugin in a process of its own sees of a route's requests: Envoy's external processing filter, with the parts that
the plugin has methods for. A middleware has them all. Who may pass has been judged before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.gateway.filters.seam import Draft, HttpFilter
from sampan.gateway.model.durations import duration, milliseconds
from sampan.gateway.plugins.content import DEFAULT_TIMEOUT
from sampan.gateway.plugins.conversation import PARTS, PEER
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.gateway.plugins.loader import Loaded

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
ORDER = 86
"""After all that judges a request and before what chooses a backend; an answer passes it before it is compressed."""
SEND, SKIP = 1, 2
NOTHING, FULL_DUPLEX_STREAMED = 0, 4
RETAIN = 2
ENVOY_WAITS_MILLISECONDS = 250
"""Longer than the plugin may take: one that awaits is ended by its host, whose words say more; Envoy ends one that blocks."""


def process(draft: Draft, key: str, settings: Object, live: Loaded, is_open: bool) -> None:
    """Let a route's requests go through a plugin's process. What changes with a version is said by the route, so that the
    listener stays as it is."""
    timeout = milliseconds(settings.get("timeout") or DEFAULT_TIMEOUT) + ENVOY_WAITS_MILLISECONDS
    reroutes = live.kind != "processor" or bool(settings.get("reroutes"))
    name = filter_name(key)
    config: dict[str, Any] = {
        "@type": EXT_PROC,
        "grpc_service": {"envoy_grpc": {"cluster_name": name, "authority": "plugin"}},
        "processing_mode": {"request_header_mode": SEND, "response_header_mode": SKIP},
        "request_attributes": [PEER],
        "message_timeout": duration(f"{timeout}ms"),
        "mutation_rules": {"allow_all_routing": {"value": True}},
        "status_on_error": {"code": 500},
    }
    if live.kind != "processor":  # a middleware knows how long what it makes is, or takes the length away
        config["allow_content_length_header"] = True
    if not reroutes:
        config["route_cache_action"] = RETAIN
    overrides: dict[str, Any] = {"processing_mode": mode(live.phases if live.kind == "processor" else PARTS)}
    overrides["failure_mode_allow"] = {"value": is_open}
    draft.need(HttpFilter.of(ORDER, name, config), {"@type": PER_ROUTE, "overrides": overrides})


def mode(phases: tuple[str, ...]) -> dict[str, Any]:
    """Return what Envoy sends of an exchange. The request's headers are always sent: they say what it is about; trailers go
    with a streamed body, which they may end."""

    def sent(*names: str) -> int:
        return SEND if any(name in phases for name in names) else SKIP

    def streamed(*names: str) -> int:
        return FULL_DUPLEX_STREAMED if any(name in phases for name in names) else NOTHING

    request, response = [(f"{side}_body", f"{side}_content") for side in ("request", "response")]
    return {
        "request_header_mode": SEND,
        "response_header_mode": sent("response_headers", *response, "response_trailers"),
        "request_body_mode": streamed(*request),
        "response_body_mode": streamed(*response),
        "request_trailer_mode": sent(*request, "request_trailers"),
        "response_trailer_mode": sent(*response, "response_trailers"),
    }


def filter_name(key: str) -> str:
    """Return the name of a plugin's filter, cluster and listener in Envoy."""
    return f"plugin/{key}"
