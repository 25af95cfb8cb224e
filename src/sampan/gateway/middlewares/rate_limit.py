"""``rateLimit``: so many requests in a time, and a burst; who asks too often gets 429.

Each Envoy counts for itself, and by who connected where nothing else is said, as Traefik does: a bucket is made for each
client as it comes. ``sourceCriterion`` may name the host or a header instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("average", "period", "burst", "sourceCriterion")
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
    bucket = bucket_of(average, burst, settings.get("period") or "1s")
    limit: dict[str, Any] = {
        "@type": TYPE,
        "stat_prefix": "rate_limit",
        "token_bucket": bucket,
        "filter_enabled": ALL,
        "filter_enforced": ALL,
    }
    action = by_source(settings.get("sourceCriterion") or {"ipStrategy": {}})
    if action is not None:
        entry = {"key": action[0]}
        limit["descriptors"] = [{"entries": [entry], "token_bucket": bucket}]
        limit["always_consume_default_token_bucket"] = {"value": False}
        limit["rate_limits"] = [{"actions": [action[1]]}]
        limit["max_dynamic_descriptors"] = {"value": MOST_CLIENTS}
    known = draft.route.get("typed_per_filter_config", {})
    number = sum(1 for name in known if name.startswith(FILTER.name))
    draft.need(replace(FILTER, name=f"{FILTER.name}/{number}") if number else FILTER, limit)


def bucket_of(average: int, burst: int, period: str) -> dict[str, Any]:
    """Return a bucket that fills evenly: ``average`` in a ``period``, ``burst`` at most."""
    duration = go_duration(period, "period")
    nanoseconds = duration["seconds"] * 1_000_000_000 + duration["nanos"]
    if nanoseconds <= 0:
        raise Unsupported("period: must be more than nothing")
    tokens = max(1, -(-average * SHORTEST_NANOSECONDS // nanoseconds))
    interval = nanoseconds * tokens // average
    fill = {"seconds": interval // 1_000_000_000, "nanos": interval % 1_000_000_000}
    return {"max_tokens": max(burst, tokens), "tokens_per_fill": {"value": tokens}, "fill_interval": fill}


def by_source(criterion: Object) -> tuple[str, dict[str, Any]] | None:
    """Return the descriptor's key and Envoy's action that finds who is counted; None where all are counted together."""
    names = [name for name, value in criterion.items() if value not in (None, False, "")]
    if len(names) != 1:
        raise Unsupported("sourceCriterion: one of ipStrategy, requestHost and requestHeaderName")
    name = names[0]
    if name == "requestHost":
        return "host", {"request_headers": {"header_name": ":authority", "descriptor_key": "host"}}
    if name == "requestHeaderName":
        header = criterion[name].lower()
        return "header", {"request_headers": {"header_name": header, "descriptor_key": "header"}}
    if name == "ipStrategy":
        for option, value in criterion[name].items():
            if value:
                raise Unsupported(f"sourceCriterion.ipStrategy.{option}: clients are told apart by who connected")
        return "remote_address", {"remote_address": {}}
    raise Unsupported(f"sourceCriterion.{name}: this option is not served")
