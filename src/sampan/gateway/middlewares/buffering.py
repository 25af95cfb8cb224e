"""``buffering``: a request's body is read whole before the backend is asked; one over the limit gets 413. An answer that is
longer than it may be becomes 500."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("maxRequestBodyBytes", "maxResponseBodyBytes")
TYPE = "envoy.extensions.filters.http.buffer.v3.Buffer"
PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
FILTER = HttpFilter.of(50, "buffer", {"@type": TYPE, "max_request_bytes": {"value": 1 << 20}})
MOST_BYTES = (1 << 32) - 1
ANSWERS_ORDER = 84
"""Before an answer is compressed."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    sizes = {name: settings.get(name) or 0 for name in OPTIONS}
    for name, size in sizes.items():
        if not isinstance(size, int) or not 0 <= size <= MOST_BYTES:
            raise Unsupported(f"{name}: must be 1 to {MOST_BYTES}")
    if not any(sizes.values()):
        raise Unsupported("maxRequestBodyBytes: neither it nor maxResponseBodyBytes is said")
    if size := sizes["maxRequestBodyBytes"]:
        draft.need(FILTER, {"@type": PER_ROUTE, "buffer": {"max_request_bytes": {"value": size}}})
    if size := sizes["maxResponseBodyBytes"]:
        scripts.run(draft, ANSWERS_ORDER, "buffering", {"most": str(size)})
