"""``retry``: requests that met an error of the network, or one of some statuses, are sent again.

As in Traefik, a request that may have been seen by a backend is sent again only where its method allows that, and where its
body is no longer than ``maxRequestBodyBytes``; and no request after ``timeout``. Source: Traefik v3, retry.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters import safe_retry
from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = (
    "attempts",
    "initialInterval",
    "timeout",
    "status",
    "maxRequestBodyBytes",
    "disableRetryOnNetworkError",
    "retryNonIdempotentMethod",
)
STATUSES = "retriable-status-codes"
NOT_IDEMPOTENT = ("LOCK", "PATCH", "POST")
MOST_BYTES = (1 << 32) - 1
ORDER = 91
NO_MORE = "x-envoy-ratelimited"
UNTOLD = HttpFilter.of(
    ORDER,
    "retry/untold",
    {"@type": safe_retry.MUTATION, "mutations": {"response_mutations": [{"remove": NO_MORE}]}},
)
"""What the script of ``timeout`` says to the router is not for clients."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    attempts = settings.get("attempts") or 0
    if attempts < 1:
        raise Unsupported("attempts: must be 1 or more")
    codes = statuses_of(settings.get("status") or (), "status")
    again = [] if settings.get("disableRetryOnNetworkError") else [safe_retry.UNSEEN]
    if not again and not codes:
        raise Unsupported("disableRetryOnNetworkError: without status nothing is sent again")
    policy: dict[str, Any] = {"num_retries": {"value": attempts - 1}}
    if codes:
        policy["retriable_status_codes"] = codes
        if settings.get("retryNonIdempotentMethod"):
            again.append(STATUSES)
        else:
            safe_retry.ask(draft, STATUSES, NOT_IDEMPOTENT, others=True)
    elif settings.get("retryNonIdempotentMethod"):
        again.append("reset")
    policy["retry_on"] = ",".join(again)
    if interval := settings.get("initialInterval"):
        base = go_duration(interval, "initialInterval")
        policy["retry_back_off"] = {"base_interval": base}
    keep(draft, policy, "attempts")
    if time := settings.get("timeout"):
        end_after(go_duration(time, "timeout"), draft)
    limit_body(settings.get("maxRequestBodyBytes"), bool(codes), draft)


def keep(draft: Draft, policy: dict[str, Any], at: str) -> None:
    """Let a route try again by a policy. Raises ``Unsupported`` where it has another."""
    if draft.forward.setdefault("retry_policy", policy) != policy:
        raise Unsupported(f"{at}: another Middleware of the route, or of its Gateway, says otherwise")


def end_after(time: dict[str, int], draft: Draft) -> None:
    """Let nothing be sent again after a time. Raises ``Unsupported`` where it is none."""
    milliseconds = time["seconds"] * 1000 + time["nanos"] // 1_000_000
    if milliseconds <= 0:
        raise Unsupported("timeout: must be a millisecond or more")
    scripts.run_on_tries(draft, ORDER, "retry_time", {"milliseconds": str(milliseconds)})
    draft.need(UNTOLD, AWAKE)


def limit_body(most: int | None, has_statuses: bool, draft: Draft) -> None:
    """Let no request be sent again whose body is longer. Raises ``Unsupported``."""
    if most is None or most == -1:  # Traefik's word for no limit
        return
    if not isinstance(most, int) or not 0 <= most <= MOST_BYTES:
        raise Unsupported(f"maxRequestBodyBytes: must be -1 to {MOST_BYTES}")
    if not has_statuses:
        raise Unsupported("maxRequestBodyBytes: without status no request is sent again that had a body")
    if draft.route.setdefault("request_body_buffer_limit", {"value": most}) != {"value": most}:
        raise Unsupported("maxRequestBodyBytes: another Middleware of the route, or of its Gateway, says otherwise")
