"""Where a processor may be called: what its Plugin and its methods say of it, quick or not (``quick.py``)."""

from __future__ import annotations

from sampan.gateway.plugins.content import Content
from sampan.gateway.plugins.contents import PARTS as WHOLE

CALLED = ("request_headers", "response_headers", *WHOLE)
"""What Envoy can call itself: methods that have all that they are to see, when they are called."""
LARGEST_BYTES = 256 << 10
"""A body that is longer takes too long on a thread that serves everybody."""


def apart_of(content: Content, phases: tuple[str, ...]) -> str:
    """Return why a processor with these methods is called in its process only, "" where Envoy may call it."""
    deployment = content.deployment
    if deployment.is_apart:
        return "its Plugin says isolation: Process"
    if deployment.memory_bytes:
        return "its Plugin says memory, which only a process of its own can be held to"
    if content.package:
        return "it is an installed package"
    if streams := [name for name in phases if name not in CALLED]:
        return f"it has {streams[0]}, which Envoy cannot call"
    if deployment.content_bytes > LARGEST_BYTES:
        return f"its max-content is more than {LARGEST_BYTES >> 10}Ki"
    return ""
