"""``redirectScheme``: a request that came by another scheme is sent to this one.

The method stays (308, 307), so that a POST is one afterwards. A request that came by the scheme already is routed on.
"""

from __future__ import annotations

from sampan.gateway.filters import rewrite
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("scheme", "port", "permanent")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    scheme = settings.get("scheme") or ""
    if scheme not in ("http", "https"):
        raise Unsupported(f"scheme: {scheme!r} is neither http nor https")
    if (scheme == "https") == site.secure:
        return
    away: dict[str, object] = {"scheme": scheme, "statusCode": 308 if settings.get("permanent") else 307}
    port = str(settings.get("port") or "")
    if port:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise Unsupported(f"port: {port!r} is no port")
        away["port"] = int(port)
    rewrite.redirect(away, draft, site)
