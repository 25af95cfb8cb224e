"""CORS, by Envoy's own filter. Source: Gateway API v1 HTTPCORSFilter (GEP-1767); the Fetch standard."""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.schema.objects import Object

FILTER = HttpFilter.of(10, "cors", {"@type": "envoy.extensions.filters.http.cors.v3.Cors"})
POLICY = "envoy.extensions.filters.http.cors.v3.CorsPolicy"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    policy: dict[str, Any] = {
        "@type": POLICY,
        "allow_origin_string_match": [origin(text) for text in settings.get("allowOrigins") or ()],
        "forward_not_matching_preflights": {"value": False},
        "max_age": str(settings.get("maxAge") or 5),
    }
    for name, field in (
        ("allowMethods", "allow_methods"),
        ("allowHeaders", "allow_headers"),
        ("exposeHeaders", "expose_headers"),
    ):
        if settings.get(name):
            policy[field] = ", ".join(settings[name])
    if settings.get("allowCredentials"):
        policy["allow_credentials"] = {"value": True}
    draft.need(FILTER, policy)


def origin(text: str) -> dict[str, Any]:
    """Return the matcher of an origin; ``*`` alone stands for every origin, in a host for any part of it."""
    if "*" not in text:
        return {"exact": text}
    expression = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", text))
    return {"safe_regex": {"regex": expression}}
