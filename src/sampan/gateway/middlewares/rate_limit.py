"""``rateLimit``: so many requests in a time, and a burst; who asks too often gets 429.

By who connected where nothing else is said, as Traefik does: a bucket is made for each client as it comes.
``sourceCriterion`` may say otherwise (``sources.py``). Each Envoy counts for itself; with ``shared`` (ours alone) all
replicas count together, by our own Rate Limit Service, and ``failure`` says whether requests pass while that does not answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.gateway.limits import descriptors
from sampan.gateway.middlewares import limits, sources
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OWN_OPTIONS = ("shared", "failure")
OPTIONS = ("average", "period", "burst", "sourceCriterion", *OWN_OPTIONS)
NOT_SERVED = {"redis": f"shared, of a Middleware of {OWN_GROUP}, counts for all replicas together"}
FAILURES = ("Open", "Closed")
TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
FILTER = HttpFilter.of(40, "rate-limit", {"@type": TYPE, "stat_prefix": "rate_limit"})
ALL = {"default_value": {"numerator": 100}}
MOST_CLIENTS = 10_000
SHORTEST_NANOSECONDS = 50_000_000
"""Envoy fills a bucket at most twenty times a second."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    average = settings.get("average") or 0
    if not average:
        return
    if average < 0:
        raise Unsupported("average: must not be negative")
    burst = settings.get("burst") or 1
    nanoseconds = nanoseconds_of(settings.get("period") or "1s")
    if settings.get("failure") and not settings.get("shared"):
        raise Unsupported("failure: without shared there is nobody who may not answer")
    if settings.get("shared"):
        share(settings, draft, site, nanoseconds // average, burst)
        return
    bucket = bucket_of(average, burst, nanoseconds)
    limit: dict[str, Any] = {
        "@type": TYPE,
        "stat_prefix": "rate_limit",
        "token_bucket": bucket,
        "filter_enabled": ALL,
        "filter_enforced": ALL,
    }
    key, action = by_source(draft, settings.get("sourceCriterion") or {})
    limit["descriptors"] = [{"entries": [{"key": key}], "token_bucket": bucket}]
    limit["always_consume_default_token_bucket"] = {"value": False}
    limit["rate_limits"] = [{"actions": [action]}]
    limit["max_dynamic_descriptors"] = {"value": MOST_CLIENTS}
    known = draft.route.get("typed_per_filter_config", {})
    number = sum(1 for name in known if name.startswith(FILTER.name))
    draft.need(replace(FILTER, name=f"{FILTER.name}/{number}") if number else FILTER, limit)


def share(settings: Object, draft: Draft, site: Site, interval_nanoseconds: int, burst: int) -> None:
    """Let our service count, for all replicas and all routes with this Middleware together."""
    failure = settings.get("failure") or "Open"
    if failure not in FAILURES:
        raise Unsupported(f"failure: {failure!r} is none of {', '.join(FAILURES)}")
    limit = descriptors.bucket_limit(site.middleware, interval_nanoseconds, burst)
    told = sources.criterion_of(settings.get("sourceCriterion") or {}, {"ipStrategy": {}})
    actions = [limits.generic(descriptors.SHARED, limit), sources.source(draft, told)]
    limits.ask(draft, site, {"actions": actions}, fails_open=failure == "Open")


def nanoseconds_of(period: str) -> int:
    duration = go_duration(period, "period")
    nanoseconds: int = duration["seconds"] * 1_000_000_000 + duration["nanos"]
    if nanoseconds <= 0:
        raise Unsupported("period: must be more than nothing")
    return nanoseconds


def bucket_of(average: int, burst: int, nanoseconds: int) -> dict[str, Any]:
    """Return a bucket that fills evenly: ``average`` in that time, ``burst`` at most."""
    tokens = max(1, -(-average * SHORTEST_NANOSECONDS // nanoseconds))
    interval = nanoseconds * tokens // average
    fill = {"seconds": interval // 1_000_000_000, "nanos": interval % 1_000_000_000}
    return {"max_tokens": max(burst, tokens), "tokens_per_fill": {"value": tokens}, "fill_interval": fill}


def by_source(draft: Draft, criterion: Object) -> tuple[str, dict[str, Any]]:
    """Return the descriptor's key and Envoy's action that finds who is counted."""
    told = sources.criterion_of(criterion, {"ipStrategy": {}})
    if told == {"by": "address"}:
        return "remote_address", {"remote_address": {}}
    if told["by"] == "host":
        return "host", {"request_headers": {"header_name": ":authority", "descriptor_key": "host"}}
    if told["by"] == "header":
        return "header", {"request_headers": {"header_name": told["header"], "descriptor_key": "header"}}
    return "source", sources.source(draft, told)
