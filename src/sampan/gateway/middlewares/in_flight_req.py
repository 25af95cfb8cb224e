"""``inFlightReq``: so many requests at a time of each client; one more gets 429.

Who a client is says ``sourceCriterion``; without it, the requested host. Our service counts (``limits/``), for each route
and Envoy; while it does not answer, requests pass.
"""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.limits import descriptors
from sampan.gateway.middlewares import limits, sources
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("amount", "sourceCriterion")
MOST = 1_000_000


def apply(settings: Object, draft: Draft, site: Site) -> None:
    amount = settings.get("amount") or 0
    if not isinstance(amount, int) or not 0 < amount <= MOST:
        raise Unsupported(f"amount: must be 1 to {MOST}")
    told = sources.criterion_of(settings.get("sourceCriterion") or {}, {"requestHost": True})
    name = f"{site.middleware} {site.route['kind']} {site.namespace}/{site.route['metadata']['name']}"
    actions = [
        limits.generic(descriptors.FLIGHT, descriptors.flight_limit(name, amount)),
        sources.source(draft, told),
        sources.kept(descriptors.IDENTITY, sources.IDENTITY),
    ]
    limits.ask(draft, site, {"actions": actions})
    limits.tell_end(draft)
