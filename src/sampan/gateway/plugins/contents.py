"""Bodies as a whole: which of them a processor is given, and what it may make of them.

A processor with a method ``request_content`` or ``response_content`` says in ``plugin.toml`` which media types it wants
(``content-types``) and how long a body may be (``max-content``). Others pass it by as they stream. The same holds where
Envoy calls it itself and where its process is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.gateway.plugins.request import Answer

PARTS = ("request_content", "response_content")
DEFAULT_BYTES = 128 << 10
LARGEST_BYTES = 16 << 20


class Contents:
    """What a Plugin's deployment says of bodies: ``content_types`` (``application/json``, ``text/*``, ``*/*``) and
    ``content_bytes``."""

    def __init__(self, deployment: Mapping[str, Any]) -> None:
        self.types = frozenset(deployment.get("content_types") or ())
        self.most: int = deployment.get("content_bytes") or DEFAULT_BYTES
        self._known: dict[str | None, bool] = {}

    def are_wanted(self, kind: str | None) -> bool:
        """Whether a body with this ``content-type`` (None: it has none) is wanted. Never one that streams events or gRPC."""
        found = self._known.get(kind)
        if found is None:
            found = self._are_wanted(kind)
            if len(self._known) < 256:
                self._known[kind] = found
        return found

    def _are_wanted(self, kind: str | None) -> bool:
        media = (kind or "").partition(";")[0].strip().lower()
        if streams(media):
            return False
        return bool(self.types & {media, f"{media.partition('/')[0]}/*", "*/*"})

    def hides_length(self, method: str, status: int, kind: str | None) -> bool:
        """Whether an answer without a body, to a request with that method, is not to say how long its body would be: what
        is made of that may be longer or shorter (RFC 9110, 8.6)."""
        return (method == "HEAD" or status == 304) and self.are_wanted(kind)

    def check(self, encoding: str | None, length: str | None, status: int = 0) -> None:
        """Raise ``ValueError`` for a body that cannot be had as a whole, by its ``content-encoding`` and
        ``content-length`` (None: not said), and the status of an answer (206: a range, RFC 9110, 14)."""
        if status == 206:
            raise ValueError("its content is a part (206): what is before and after it is not known")
        if encoding is not None and encoding.strip().lower() not in ("", "identity"):
            raise ValueError(f"its content is encoded ({encoding}): what it was is not known")
        if length is not None and length.isdecimal():
            self.check_size(int(length))

    def check_size(self, size: int) -> None:
        """Raise ``ValueError`` for a body of more bytes than the plugin takes."""
        if size > self.most:
            raise ValueError(f"its content is longer than the {self.most} bytes that it takes (max-content)")


def streams(media: str) -> bool:
    """Whether what has a media type (in small letters) goes on piece by piece, and is never had as a whole."""
    return media == "text/event-stream" or media.startswith("application/grpc")


def made_of(found: Any) -> bytes | Answer | None:
    """Return what a method made of a body: other bytes, an answer in its stead, or None where it stays. Raises
    ``ValueError``."""
    if found is None or isinstance(found, (bytes, Answer)):
        return found
    if isinstance(found, (bytearray, memoryview)):
        return bytes(found)
    raise ValueError(f"it returned {found!r}: bytes, nothing, or exchange.respond(...) is expected")
