"""What Envoy's external processing filter sends of an exchange, by the methods that a processor has.

An upgrade's bytes are no body. But in the mode in which bodies stream both ways, Envoy holds headers until the first byte
behind them, and a WebSocket's never comes. So where only answers are had as a whole, the filter sends no bodies by itself:
the plugin asks for them when it has seen the request, and that it is no upgrade. Envoy lets it ask only where no body streams
from the beginning. Source: Envoy's external processing API v3 (``processing_mode.proto``, ``mode_override``).
"""

from __future__ import annotations

SEND, SKIP = 1, 2
NOTHING, FULL_DUPLEX_STREAMED = 0, 4
"""Of bodies: they pass by; or they are sent as they come, and the plugin sends as it likes."""
Mode = dict[str, int]


def mode(phases: tuple[str, ...]) -> Mode:
    """Return what is sent of an exchange. The request's headers are always sent: they say what it is about; trailers go
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


def asks_for_bodies(phases: tuple[str, ...]) -> bool:
    """Whether no body is sent until the plugin asks for it, request by request."""
    return "response_content" in phases and not {"request_content", "request_body", "response_body"} & {*phases}


def first_mode(phases: tuple[str, ...]) -> Mode:
    """Return what is sent before the plugin asks for more."""
    return mode(phases) | ({"response_body_mode": NOTHING} if asks_for_bodies(phases) else {})
