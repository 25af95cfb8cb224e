"""``ipAllowList``: only clients of some ranges may pass.

The client is who connected. With ``ipStrategy.depth`` it is an address of ``X-Forwarded-For``, so many from its end; the
header is then what decides, as it is in Traefik.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import access
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
OPTIONS = ("sourceRange", "ipStrategy", "rejectStatusCode")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    if settings.get("rejectStatusCode") not in (None, 403):
        raise Unsupported("rejectStatusCode: who may not pass gets 403")
    strategy = settings.get("ipStrategy") or {}
    for name in strategy:
        if name != "depth":
            raise Unsupported(f"ipStrategy.{name}: this option is not served")
    depth = strategy.get("depth") or 0
    if depth:
        access.allow(draft, "addresses", [{"header": forwarded(one, depth)} for one in networks_of(settings)])
    else:
        access.allow(draft, "addresses", ranges_of(settings))


def networks_of(settings: Object) -> list[Network]:
    networks = [network(text) for text in settings.get("sourceRange") or ()]
    if not networks:
        raise Unsupported("sourceRange: Required value")
    return networks


def ranges_of(settings: Object) -> list[dict[str, Any]]:
    """Return a principal for each range that who connects may be of. Raises ``Unsupported``."""
    return [
        {"direct_remote_ip": {"address_prefix": str(one.network_address), "prefix_len": {"value": one.prefixlen}}}
        for one in networks_of(settings)
    ]


def network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Unsupported(f"sourceRange: {error}") from error


def forwarded(one: Network, depth: int) -> dict[str, Any]:
    """Return a matcher of ``X-Forwarded-For`` for the address so many from its end. A header is matched as text: ranges of
    IPv4 that end between two dots, and ranges of IPv6, cannot be."""
    if one.version != 4 or one.prefixlen % 8:
        raise Unsupported("sourceRange: with ipStrategy.depth, ranges of IPv4 of /8, /16, /24 or /32 are served")
    octets = str(one.network_address).split(".")[: one.prefixlen // 8]
    address = re.escape(".".join(octets)) + r"\.\d+" * (4 - len(octets))
    expression = rf"(?:.*,\s*)?{address.removeprefix(re.escape('.'))}(?:\s*,[^,]*){{{depth - 1}}}"
    return {"name": "x-forwarded-for", "string_match": {"safe_regex": {"regex": expression}}}
