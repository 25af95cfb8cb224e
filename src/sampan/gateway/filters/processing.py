"""What a plugin in a process of its own sees of a route's requests: Envoy's external processing filter, with the parts that
the plugin has methods for. A middleware has them all. Who may pass has been judged before. A processor's filter comes by
extension discovery with its version: Envoy may call it as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.gateway.filters.seam import Draft, HttpFilter
from sampan.gateway.model.durations import duration, milliseconds
from sampan.gateway.plugins.content import DEFAULT_TIMEOUT
from sampan.gateway.plugins.contents import PARTS as CONTENTS
from sampan.gateway.plugins.conversation import PARTS, PEER
from sampan.gateway.plugins.modes import SEND, SKIP, Mode, mode, of_upgrade
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.gateway.plugins.loader import Loaded

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
HEADER = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
MATCHING = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
COMPOSITE = "envoy.extensions.filters.http.composite.v3.Composite"
ACTION = "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction"
PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
ORDER = 86
"""After all that judges a request and before what chooses a backend; an answer passes it before it is compressed."""
RETAIN = 2
ENVOY_WAITS_MILLISECONDS = 250
"""Longer than the plugin may take: one that awaits is ended by its host, whose words say more; Envoy ends one that blocks."""


def wrap(draft: Draft, key: str, settings: Object, is_open: bool) -> None:
    """Let a route's requests go through a middleware's process. Whether it fails open is said by the route, so that the
    listener stays as it is."""
    config = processor(key, milliseconds(settings.get("timeout") or DEFAULT_TIMEOUT))
    config["processing_mode"] = {"request_header_mode": SEND, "response_header_mode": SKIP}
    overrides = {"processing_mode": mode(PARTS), "failure_mode_allow": {"value": is_open}}
    draft.need(HttpFilter.of(ORDER, filter_name(key), config), {"@type": PER_ROUTE, "overrides": overrides})


def asking(key: str, loaded: Loaded) -> dict[str, Any]:
    """Return the filter that asks a version of a processor, in its process."""
    config = processor(key, int(loaded.timeout_seconds * 1000))
    config["processing_mode"] = mode(loaded.phases)
    config["failure_mode_allow"] = loaded.fails_open
    if not loaded.reroutes:
        config["route_cache_action"] = RETAIN
    if any(name in CONTENTS for name in loaded.phases):
        return except_upgrades(config, loaded.phases)
    return config


def except_upgrades(filter_: dict[str, Any], phases: tuple[str, ...]) -> dict[str, Any]:
    """Return a filter that sees of an upgrade nothing but headers. In the mode in which bodies stream, Envoy holds headers
    until the first byte behind them, and a WebSocket's never comes."""
    header = {"name": "upgrade", "typed_config": {"@type": HEADER, "header_name": "upgrade"}}
    is_there = {"safe_regex": {"google_re2": {}, "regex": ".*"}}

    def acts(mode: Mode) -> dict[str, Any]:
        config = {"name": "exchange", "typed_config": filter_ | {"processing_mode": mode}}
        return {"action": {"name": "exchange", "typed_config": {"@type": ACTION, "typed_config": config}}}

    upgrade = {"predicate": {"single_predicate": {"input": header, "value_match": is_there}}}
    upgrade["on_match"] = acts(of_upgrade(phases))
    return {
        "@type": MATCHING,
        "extension_config": {"name": "exchange", "typed_config": {"@type": COMPOSITE}},
        "xds_matcher": {"matcher_list": {"matchers": [upgrade]}, "on_no_match": acts(mode(phases))},
    }


def processor(key: str, timeout_milliseconds: int) -> dict[str, Any]:
    """Return what is the same of all filters that ask a process."""
    return {
        "@type": EXT_PROC,
        "grpc_service": {"envoy_grpc": {"cluster_name": filter_name(key), "authority": "plugin"}},
        "request_attributes": [PEER],
        "message_timeout": duration(f"{timeout_milliseconds + ENVOY_WAITS_MILLISECONDS}ms"),
        "mutation_rules": {"allow_all_routing": {"value": True}},
        "status_on_error": {"code": 500},
        "allow_content_length_header": True,  # a plugin knows how long what it makes is, or the length is taken away
    }


def filter_name(key: str) -> str:
    """Return the name of a plugin's filter, cluster and listener in Envoy."""
    return f"plugin/{key}"


def exchange_name(key: str) -> str:
    """Return the name of a processor's filter: it asks the process, or is a call in Envoy itself, as each version has it.
    ``+`` comes before all that a name may have, so that filters stand in the order of their Plugins' names."""
    return f"{filter_name(key)}+exchange"
