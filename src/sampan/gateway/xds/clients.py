"""What a listener puts up with from its clients: how long they may take, how much they may send and leave unread.

Every connection's memory has an end: what a client does not read stays with the backend, what a backend does not read with
the client. Some of it can be set (``clients`` of GatewayParameters). Source: Envoy's guide for edge proxies; RFC 9110
section 5, RFC 9112 sections 6 and 11 (what is smuggling).
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.model.durations import duration

DROP_HEADER = 2
UNDERSCORES = {"Allow": 0, "Reject": 1, "Drop": DROP_HEADER}
IN_CLUSTER: dict[str, Any] = {"clients": {"underscoresInHeaders": "Allow"}}
"""Of listeners for clients that are pods: nothing that they may say is the gateway's."""
INSIDE: dict[str, Any] = {"clients": {"underscoresInHeaders": "Allow", "maxHeaders": 1000, "maxHeadersKiB": 8192}}
"""Of listeners inside Envoy: the one before has let in what comes."""
NOBODY = {"address_prefix": "255.255.255.255", "prefix_len": {"value": 32}}
"""No client's address: whoever comes from a private network is told apart from nobody, and his ``x-envoy-`` headers, with
which one may set timeouts and retries, are taken off."""
HANDSHAKE = {"seconds": 15}
UNREAD = {"seconds": 300}
"""How long what was sent to a client may stay unread, at the limit of the buffer or after the last byte of an answer."""
BUFFER_BYTES = 1 << 20
STREAMS, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 100, 1 << 18, 1 << 20
STREAM_LIMITS = {
    "max_concurrent_streams": {"value": STREAMS},
    "initial_stream_window_size": {"value": STREAM_WINDOW_BYTES},
    "initial_connection_window_size": {"value": CONNECTION_WINDOW_BYTES},
}
"""Of HTTP/2 and HTTP/3. Envoy's own windows are 16 and 24 MiB, for backends that read at once."""
STREAMS_INSIDE = {"max_concurrent_streams": {"value": 1000}}
"""Of connections between listeners of Envoy itself, said to both ends: an end that learns it from the other has by then
begun as many requests as came at once, and those beyond are refused."""
STREAMS_OF_PYTHON = {"max_concurrent_streams": {"value": 100}}
"""Of a connection to what is ours in Python (limits, plugins' processes), whose library (h2) ends connections with more."""


def manager_limits(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a connection manager. ``settings``: ``clients`` of GatewayParameters."""
    common: dict[str, Any] = {
        "idle_timeout": duration(settings.get("idleTimeout") or "1h"),
        "headers_with_underscores_action": UNDERSCORES[settings.get("underscoresInHeaders") or "Drop"],
    }
    limits: dict[str, Any] = {
        "common_http_protocol_options": common,
        "http2_protocol_options": STREAM_LIMITS,
        "internal_address_config": {"unix_sockets": False, "cidr_ranges": [NOBODY]},
        "request_headers_timeout": duration(settings.get("requestHeadersTimeout") or "1m"),
        "stream_idle_timeout": duration(settings.get("streamIdleTimeout") or "0s"),
        "stream_flush_timeout": UNREAD,
    }
    if settings.get("requestTimeout"):
        limits["request_timeout"] = duration(settings["requestTimeout"])
    if settings.get("maxHeaders"):
        common["max_headers_count"] = {"value": settings["maxHeaders"]}
    if settings.get("maxHeadersKiB"):
        limits["max_request_headers_kb"] = {"value": settings["maxHeadersKiB"]}
    return limits


def listener_limits() -> dict[str, Any]:
    """Return the fields of a TCP listener."""
    return {
        "per_connection_buffer_limit_bytes": {"value": BUFFER_BYTES},
        "per_connection_buffer_high_watermark_timeout": UNREAD,
    }
