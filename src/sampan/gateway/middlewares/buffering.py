"""``buffering``: a request's body is read whole before the backend is asked; one over the limit gets 413. An answer that is
longer than it may be becomes 500.

Bodies are kept in memory; with ``memRequestBodyBytes`` (``memResponseBodyBytes``) what is over so much of one is in a file
without a name. With ``retryExpression`` a request is sent again. Source: Traefik v3, buffering.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters import safe_retry
from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.middlewares import retry, scripts
from sampan.gateway.middlewares.retry_expressions import NETWORK_ERRORS, again_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

SIZES = ("maxRequestBodyBytes", "memRequestBodyBytes", "maxResponseBodyBytes", "memResponseBodyBytes")
OPTIONS = (*SIZES, "retryExpression")
TYPE = "envoy.extensions.filters.http.buffer.v3.Buffer"
PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
FILTER = HttpFilter.of(50, "buffer", {"@type": TYPE, "max_request_bytes": {"value": 1 << 20}})
ON_DISK = "envoy.extensions.filters.http.file_system_buffer.v3.FileSystemBufferFilterConfig"
MOST_BYTES = (1 << 32) - 1
ENDLESS_BYTES = 1 << 50
ANSWERS_ORDER = 84
"""Before an answer is compressed."""
THREADS = 1
"""That write all such files."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    sizes = {name: settings.get(name) or 0 for name in SIZES}
    for name, size in sizes.items():
        if not isinstance(size, int) or not 0 <= size <= MOST_BYTES:
            raise Unsupported(f"{name}: must be 1 to {MOST_BYTES}")
    expression = settings.get("retryExpression") or ""
    if not any(sizes.values()) and not expression:
        raise Unsupported("maxRequestBodyBytes: none of it, maxResponseBodyBytes and retryExpression is said")
    most, kept = sizes["maxRequestBodyBytes"], sizes["memRequestBodyBytes"]
    if kept:
        keep_on_disk("request", 50, kept, most, draft)
    elif most:
        draft.need(FILTER, {"@type": PER_ROUTE, "buffer": {"max_request_bytes": {"value": most}}})
    if expression:
        send_again(expression, most, draft)
    most, kept = sizes["maxResponseBodyBytes"], sizes["memResponseBodyBytes"]
    if kept:
        keep_on_disk("response", ANSWERS_ORDER, kept, most, draft)
    elif most:
        scripts.run(draft, ANSWERS_ORDER, "buffering", {"most": str(most)})


def keep_on_disk(what: str, order: int, kept: int, most: int, draft: Draft) -> None:
    """Let a route keep the bodies of requests, or of answers, in memory up to ``kept`` bytes and in a file up to ``most`` (0:
    any). The filter reads what a route says under a name of its own alone, so there is one for each pair of limits."""
    kept = min(kept, most or kept)
    limits = {
        "behavior": {"fully_buffer": {}},
        "memory_buffer_bytes_limit": {"value": kept},
        "storage_buffer_bytes_limit": {"value": most - kept if most else ENDLESS_BYTES},
    }
    passes: dict[str, Any] = {"behavior": {"bypass": {}}}
    manager = {"id": "bodies", "thread_pool": {"thread_count": THREADS}}
    config = {"@type": ON_DISK, "manager_config": manager, "request": passes, "response": passes, what: limits}
    draft.need(HttpFilter.of(order, f"buffer/{what}/{kept}/{most}", config), AWAKE)


def send_again(expression: str, most: int, draft: Draft) -> None:
    """Let a route try again when an expression is true of a try. Raises ``Unsupported``."""
    again = again_of(expression)
    retry_on = (
        f"{retry.STATUSES},connect-failure,refused-stream,reset" if NETWORK_ERRORS[0] in again.codes else retry.STATUSES
    )
    policy: dict[str, Any] = {
        "num_retries": {"value": again.retries},
        "retriable_status_codes": list(again.codes),
        "retry_on": retry_on,
    }
    if again.methods or again.but:
        policy["retry_on"] = ""
        safe_retry.ask(draft, retry_on, again.methods or again.but, others=bool(again.but))
    retry.keep(draft, policy, "retryExpression")
    if most:
        retry.limit_body(most, True, draft)
