"""``ipAllowList``: only clients of some ranges may pass.

The client is who connected, unless ``ipStrategy`` says where in ``X-Forwarded-For`` it is: that header is then what decides,
as it is in Traefik. Envoy's own filter judges who connected; the rest, and other statuses than 403, are a script's.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import access, scripts
from sampan.gateway.middlewares.sources import Network, networks_of, ranges, strategy_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("sourceRange", "ipStrategy", "rejectStatusCode")
FORBIDDEN = 403
ORDER = 15


def apply(settings: Object, draft: Draft, site: Site) -> None:
    told, status = strategy_of(settings.get("ipStrategy") or {}), settings.get("rejectStatusCode") or FORBIDDEN
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise Unsupported(f"rejectStatusCode: {status!r} is no status")
    if not told and status == FORBIDDEN:
        access.allow(draft, "addresses", ranges_of(settings))
    else:
        context = {"ranges": ranges(networks(settings)), "status": str(status), **told}
        scripts.run(draft, ORDER, "ip_allow_list", context, library="address")


def networks(settings: Object) -> list[Network]:
    found = networks_of(settings.get("sourceRange") or [], "sourceRange")
    if not found:
        raise Unsupported("sourceRange: Required value")
    return found


def ranges_of(settings: Object) -> list[dict[str, Any]]:
    """Return a principal for each range that who connects may be of. Raises ``Unsupported``."""
    return [
        {"direct_remote_ip": {"address_prefix": str(one.network_address), "prefix_len": {"value": one.prefixlen}}}
        for one in networks(settings)
    ]
