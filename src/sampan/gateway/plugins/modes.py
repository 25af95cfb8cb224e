"""What Envoy's external processing filter sends of an exchange, by the methods that a processor has. Source: Envoy's
external processing API v3 (``processing_mode.proto``)."""

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


def of_upgrade(phases: tuple[str, ...]) -> Mode:
    """Return what is sent of an upgrade, whose bytes are no body. What answers it instead may have one that the plugin is to
    see: its headers say so."""
    seen = {"response_headers"} if "response_content" in phases else set()
    return mode((*(name for name in phases if name.endswith("_headers")), *seen))
