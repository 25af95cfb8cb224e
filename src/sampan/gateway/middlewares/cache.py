"""``cache`` (ours alone): answers that may be used again are kept in Envoy's memory, and told without the backend.

By the rules of RFC 9111 for a shared cache: what the backend says in ``Cache-Control``, ``Expires`` and ``Vary`` counts, and
what the client asks. A script does it (``lua/cache.lua``); see ADR 64.
"""

from __future__ import annotations

import hashlib
import re

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("maxSizeMiB", "maxBodyKiB", "defaultTTL", "statusHeader")
ORDER = 60
"""After all that judges who may ask; what changes answers (compression) has done so: they are kept as clients get them."""
SIZE_MIB, MOST_MIB = 64, 1024
BODY_KIB = 1024
STATUS_HEADER = "Cache-Status"
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    size, body = number(settings, "maxSizeMiB", SIZE_MIB, MOST_MIB), number(settings, "maxBodyKiB", BODY_KIB, 1 << 20)
    if body > size * 1024:
        raise Unsupported(f"maxBodyKiB: more than the cache may hold ({size} MiB)")
    ttl = settings.get("defaultTTL") or 0
    if not isinstance(ttl, int) or not 0 <= ttl <= 1 << 31:
        raise Unsupported("defaultTTL: must be a number of seconds")
    identity = f"{site.route['kind']} {site.namespace}/{site.route['metadata']['name']} {site.match!r}"
    context = {
        "body": str(body * 1024),
        "ttl": str(ttl),
        "route": hashlib.sha256(identity.encode()).hexdigest()[:12],
    }
    header = settings.get("statusHeader", STATUS_HEADER)
    if header:
        if not isinstance(header, str) or not NAME.fullmatch(header):
            raise Unsupported(f"statusHeader: {header!r} is no name of a header")
        context["status"] = header.lower()
    scripts.run(draft, ORDER, "cache", context, f"local MOST_BYTES = {size * 1024 * 1024}\n")


def number(settings: Object, name: str, otherwise: int, most: int) -> int:
    found = settings.get(name, otherwise)
    if not isinstance(found, int) or not 1 <= found <= most:
        raise Unsupported(f"{name}: must be 1 to {most}")
    return found
