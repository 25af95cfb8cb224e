"""GRPCRoute. Source: Gateway API v1."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.http_route import FILTER_BODIES, NAME_VALUE, backend_refs
from sampan.gateway.kinds.resources import GRPC_ROUTES
from sampan.schema.objects import Object

KINDS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef")
FILTER = s.struct(("type",), type=s.one_of(*KINDS), **dict(FILTER_BODIES[kind] for kind in KINDS))
METHOD = s.struct(
    type=s.one_of("Exact", "RegularExpression", default="Exact"), service=s.text(1024), method=s.text(1024)
)
SPEC = s.struct(
    parentRefs=s.PARENT_REFS,
    hostnames=s.many(s.HOSTNAME, 16),
    rules=s.many(
        s.struct(
            name=s.text(253, 1),
            matches=s.many(s.struct(method=METHOD, headers=s.many(NAME_VALUE, 16, ("name",))), 64),
            filters=s.many(FILTER, 16),
            backendRefs=backend_refs(FILTER),
            sessionPersistence=s.SESSION_PERSISTENCE,
        ),
        16,
    ),
)


def definition() -> Object:
    columns = (("Hostnames", "string", ".spec.hostnames"), s.AGE)
    return s.definition(GRPC_ROUTES, ("v1",), SPEC, s.ROUTE_STATUS, (), columns)
