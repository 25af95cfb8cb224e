"""MiddlewareTCP of Traefik, for connections of a TCPRoute or TLSRoute: ``ipAllowList``.

``inFlightConn`` counts the connections of each client; Envoy's filter counts those of all together, and is no such thing.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.middlewares import access
from sampan.gateway.middlewares.ip_allow_list import ranges_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"


def network_filter(spec: Object) -> dict[str, Any]:
    """Return Envoy's network filter of a MiddlewareTCP. Raises ``Unsupported``."""
    if len(spec) != 1:
        raise Unsupported(f"spec: one middleware is expected, not {', '.join(sorted(spec)) or 'none'}")
    ((name, settings),) = spec.items()
    if name == "inFlightConn":
        raise Unsupported("spec.inFlightConn: connections cannot be counted for each client")
    if name != "ipAllowList":
        raise Unsupported(f"spec.{name}: this middleware is not served")
    for option in settings or {}:
        if option != "sourceRange":
            raise Unsupported(f"spec.{name}.{option}: this option is not served")
    try:
        principals = ranges_of(settings or {})
    except Unsupported as error:
        raise Unsupported(f"spec.{name}.{error}") from error
    policy = {"permissions": [{"any": True}], "principals": principals}
    rules = {"action": access.ALLOW, "policies": {"listed": policy}}
    return {"@type": RBAC, "stat_prefix": "addresses", "rules": rules}
