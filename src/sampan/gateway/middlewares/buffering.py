"""``buffering``: a request's body is read whole before the backend is asked; one over the limit gets 413."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("maxRequestBodyBytes",)
TYPE = "envoy.extensions.filters.http.buffer.v3.Buffer"
PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
FILTER = HttpFilter.of(50, "buffer", {"@type": TYPE, "max_request_bytes": {"value": 1 << 20}})
MOST_BYTES = (1 << 32) - 1


def apply(settings: Object, draft: Draft, site: Site) -> None:
    size = settings.get("maxRequestBodyBytes") or 0
    if not 0 < size <= MOST_BYTES:
        raise Unsupported(f"maxRequestBodyBytes: must be 1 to {MOST_BYTES}")
    draft.need(FILTER, {"@type": PER_ROUTE, "buffer": {"max_request_bytes": {"value": size}}})
