"""``retry``: requests that met an error of the network, or one of some statuses, are sent again.

As in Traefik, a request that may have been seen by a backend is sent again only where its method allows that.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("attempts", "initialInterval", "status", "disableRetryOnNetworkError", "retryNonIdempotentMethod")
UNSEEN = "connect-failure,refused-stream,reset-before-request"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    attempts = settings.get("attempts") or 0
    if attempts < 1:
        raise Unsupported("attempts: must be 1 or more")
    policy: dict[str, Any] = {"retry_on": UNSEEN, "num_retries": {"value": attempts - 1}}
    codes = statuses_of(settings.get("status") or (), "status")
    if codes:
        policy |= {"retry_on": f"{UNSEEN},retriable-status-codes", "retriable_status_codes": codes}
    if settings.get("disableRetryOnNetworkError"):
        if not codes:
            raise Unsupported("disableRetryOnNetworkError: without status nothing is sent again")
        policy["retry_on"] = "retriable-status-codes"
    elif settings.get("retryNonIdempotentMethod"):
        policy["retry_on"] += ",reset"
    if interval := settings.get("initialInterval"):
        base = go_duration(interval, "initialInterval")
        policy["retry_back_off"] = {"base_interval": base}
    if draft.forward.setdefault("retry_policy", policy) != policy:
        raise Unsupported("attempts: another Middleware of the route, or of its Gateway, says otherwise")
