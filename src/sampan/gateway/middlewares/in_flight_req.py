"""``inFlightReq``: so many requests at a time; one more gets 429.

Envoy counts all requests of a listener's routes with the same Middleware together. By ``requestHost``, Traefik's default,
is the same where a route has one host name.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("amount", "sourceCriterion")
TYPE = "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency"
AWAKE = {"@type": "envoy.config.route.v3.FilterConfig", "config": b""}
ORDER = 41
MOST = 1_000_000
RARELY = {"seconds": 3600}


def apply(settings: Object, draft: Draft, site: Site) -> None:
    amount = settings.get("amount") or 0
    if not isinstance(amount, int) or not 0 < amount <= MOST:
        raise Unsupported(f"amount: must be 1 to {MOST}")
    for name, value in (settings.get("sourceCriterion") or {}).items():
        hostnames: list[str] = site.route["spec"].get("hostnames") or []
        one_host = len(hostnames) == 1 and not hostnames[0].startswith("*")
        if value and not (name == "requestHost" and one_host):
            raise Unsupported(f"sourceCriterion.{name}: requests are counted together, not by who sends them")
    # the limit is between a most and a least that are the same: it does not adapt
    gradient: dict[str, Any] = {
        "concurrency_limit_params": {"max_concurrency_limit": {"value": amount}, "concurrency_update_interval": RARELY},
        "min_rtt_calc_params": {"interval": RARELY, "min_concurrency": {"value": amount}},
    }
    config = {
        "@type": TYPE,
        "gradient_controller_config": gradient,
        "concurrency_limit_exceeded_status": {"code": 429},
    }
    key = f"{site.namespace}/{site.route['metadata']['name']}/{site.route['spec'].get('hostnames') or ''}"
    draft.need(HttpFilter.of(ORDER, f"in-flight/{key}/{amount}", config), AWAKE)
