"""MiddlewareTCP of Traefik, for connections of a TCPRoute or TLSRoute: ``ipAllowList`` and ``inFlightConn``.

``inFlightConn`` is counted by our own service (``limits/``), for each client's address, route and Envoy: Envoy asks before a
connection goes on, and its access log tells when it has ended.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.limits import descriptors
from sampan.gateway.middlewares import access, limits
from sampan.gateway.middlewares.ip_allow_list import ranges_of
from sampan.gateway.model.verdicts import MALFORMED, Unsupported, malformed
from sampan.schema.objects import Object

RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"
RATE_LIMIT = "envoy.extensions.filters.network.ratelimit.v3.RateLimit"
GRPC_LOG = "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig"
MIDDLEWARES = {"ipAllowList": ("sourceRange",), "ipWhiteList": ("sourceRange",), "inFlightConn": ("amount",)}
"""Name → options."""
MOST = 1_000_000
IDENTITY = "%DOWNSTREAM_REMOTE_ADDRESS%>%DOWNSTREAM_LOCAL_ADDRESS%@%START_TIME(%s.%9f)%"
"""A connection has no identity that an access log tells too; see ``limits.service.connection``."""


def network_filter(spec: Object, counted_as: str) -> dict[str, Any]:
    """Return Envoy's network filter of a MiddlewareTCP. ``counted_as``: what its connections are counted under. Raises
    ``Unsupported``."""
    if len(spec) != 1:
        raise Unsupported(f"spec: one middleware is expected, not {', '.join(sorted(spec)) or 'none'}")
    ((name, settings),) = spec.items()
    if name not in MIDDLEWARES:
        raise Unsupported(f"spec.{name}: this middleware is not served")
    if not isinstance(settings, dict | None):
        raise Unsupported(f"spec.{name}: an object is expected")
    for option in settings or {}:
        if option not in MIDDLEWARES[name]:
            raise Unsupported(f"spec.{name}.{option}: this option is not served")
    try:
        return counted(settings or {}, counted_as) if name == "inFlightConn" else allowed(settings or {})
    except Unsupported as error:
        raise Unsupported(f"spec.{name}.{error}") from error
    except MALFORMED as error:
        raise Unsupported(f"spec.{name}: {malformed(error)}") from error


def allowed(settings: Object) -> dict[str, Any]:
    policy = {"permissions": [{"any": True}], "principals": ranges_of(settings)}
    rules = {"action": access.ALLOW, "policies": {"listed": policy}}
    return {"@type": RBAC, "stat_prefix": "addresses", "rules": rules}


def counted(settings: Object, counted_as: str) -> dict[str, Any]:
    amount = settings.get("amount") or 0
    if not isinstance(amount, int) or not 0 < amount <= MOST:
        raise Unsupported(f"amount: must be 1 to {MOST}")
    entries = [
        {"key": descriptors.FLIGHT, "value": descriptors.flight_limit(counted_as, amount)},
        {"key": descriptors.SOURCE, "value": "address %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
        {"key": descriptors.IDENTITY, "value": IDENTITY},
    ]
    return {
        "@type": RATE_LIMIT,
        "stat_prefix": "limits",
        "domain": descriptors.DOMAIN,
        "descriptors": [{"entries": entries}],
        "timeout": limits.TIMEOUT,
        "rate_limit_service": limits.SERVICE,
    }


def is_counted(network_filter: dict[str, Any]) -> bool:
    """Whether the end of its connections has to be told."""
    return bool(network_filter["@type"] == RATE_LIMIT)


def ends_told() -> dict[str, Any]:
    """Return the access log of a listener that tells our service which connections have ended, each at once."""
    common = {
        "log_name": descriptors.ENDED,
        "grpc_service": limits.SERVICE["grpc_service"],
        "transport_api_version": 2,
        "buffer_size_bytes": {"value": 0},
    }
    return {"name": "ended", "typed_config": {"@type": GRPC_LOG, "common_config": common}}
