"""``bandwidthLimit`` (ours alone): so many KiB a second, for all requests of a route together."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("kibPerSecond", "direction")
TYPE = "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit"
DIRECTIONS = {"Request": 1, "Response": 2, "Both": 3}
FILTER = HttpFilter.of(45, "bandwidth", {"@type": TYPE, "stat_prefix": "bandwidth"})


def apply(settings: Object, draft: Draft, site: Site) -> None:
    limit, direction = settings.get("kibPerSecond"), settings.get("direction") or "Both"
    if not isinstance(limit, int) or limit < 1:
        raise Unsupported("kibPerSecond: must be 1 or more")
    if direction not in DIRECTIONS:
        raise Unsupported(f"direction: {direction!r} is none of {', '.join(DIRECTIONS)}")
    config = {
        "@type": TYPE,
        "stat_prefix": "bandwidth",
        "enable_mode": DIRECTIONS[direction],
        "limit_kbps": {"value": limit},
    }
    draft.need(FILTER, config)
