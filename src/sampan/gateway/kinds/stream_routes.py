"""TLSRoute, TCPRoute, UDPRoute: routes of connections and datagrams. Source: Gateway API v1."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import TCP_ROUTES, TLS_ROUTES, UDP_ROUTES
from sampan.schema.objects import Object

RULES = s.many(s.struct(("backendRefs",), name=s.text(253, 1), backendRefs=s.BACKEND_REFS), 1, minItems=1)
SPEC = s.struct(("rules",), parentRefs=s.PARENT_REFS, rules=RULES)
TLS_SPEC = s.struct(
    ("hostnames", "rules"), parentRefs=s.PARENT_REFS, hostnames=s.many(s.HOSTNAME, 16, minItems=1), rules=RULES
)


def tls_definition() -> Object:
    columns = (("Hostnames", "string", ".spec.hostnames"), s.AGE)
    return s.definition(TLS_ROUTES, ("v1", "v1alpha3", "v1alpha2"), TLS_SPEC, s.ROUTE_STATUS, (), columns)


def tcp_definition() -> Object:
    return s.definition(TCP_ROUTES, ("v1", "v1alpha2"), SPEC, s.ROUTE_STATUS)


def udp_definition() -> Object:
    return s.definition(UDP_ROUTES, ("v1", "v1alpha2"), SPEC, s.ROUTE_STATUS)
