"""HTTPRoute, with the experimental channel's fields. Source: Gateway API v1, GEP-1619 (sessions), GEP-1731 (retries),
GEP-1767 (CORS), GEP-1494 (external authorization)."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import HTTP_ROUTES
from sampan.schema.objects import Object

HEADERS = s.many(s.struct(("name", "value"), name=s.text(256, 1), value=s.text(4096, 1)), 16, ("name",))
HEADER_FILTER = s.struct(set=HEADERS, add=HEADERS, remove=s.many({"type": "string"}, 16))
PATH_CHANGE = s.struct(
    ("type",),
    type=s.one_of("ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath=s.text(1024),
    replacePrefixMatch=s.text(1024),
)
FRACTION = s.struct(("numerator",), numerator=s.number(0, 2**31 - 1), denominator=s.number(1, 2**31 - 1, default=100))
MIRROR = s.struct(
    ("backendRef",),
    backendRef=s.struct(("name",), **s.BACKEND_REF),
    percent=s.number(0, 100),
    fraction=FRACTION,
)
NAMES = s.many(s.text(256, 1), 64)
CORS = s.struct(
    allowOrigins=s.many(s.text(253, 1), 64),
    allowCredentials=s.BOOLEAN,
    allowMethods=s.many(
        s.one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"), 9
    ),
    allowHeaders=NAMES,
    exposeHeaders=NAMES,
    maxAge={"type": "integer", "format": "int32", "minimum": 1, "default": 5},
)
EXTERNAL_AUTH = s.struct(
    ("protocol", "backendRef"),
    protocol=s.one_of("HTTP", "GRPC"),
    backendRef=s.struct(("name",), **s.BACKEND_REF),
    grpc=s.struct(allowedHeaders=NAMES),
    http=s.struct(path=s.text(1024), allowedHeaders=NAMES, allowedResponseHeaders=NAMES),
    forwardBody=s.struct(maxSize=s.number(0, 65535)),
)
FILTER_BODIES = {
    "RequestHeaderModifier": ("requestHeaderModifier", HEADER_FILTER),
    "ResponseHeaderModifier": ("responseHeaderModifier", HEADER_FILTER),
    "RequestMirror": ("requestMirror", MIRROR),
    "RequestRedirect": (
        "requestRedirect",
        s.struct(
            scheme=s.one_of("http", "https"),
            hostname=s.PRECISE_HOSTNAME,
            path=PATH_CHANGE,
            port=s.number(1, 65535),
            statusCode={"type": "integer", "enum": [301, 302, 303, 307, 308], "default": 302},
        ),
    ),
    "URLRewrite": ("urlRewrite", s.struct(hostname=s.PRECISE_HOSTNAME, path=PATH_CHANGE)),
    "CORS": ("cors", CORS),
    "ExternalAuth": ("externalAuth", EXTERNAL_AUTH),
    "ExtensionRef": ("extensionRef", s.LOCAL_REF),
}
FILTER = s.struct(("type",), type=s.one_of(*FILTER_BODIES), **dict(FILTER_BODIES.values()))
NAME_VALUE = s.struct(
    ("name", "value"),
    type=s.one_of("Exact", "RegularExpression", default="Exact"),
    name=s.text(256, 1),
    value=s.text(4096, 1),
)
EVERYTHING = {"path": {"type": "PathPrefix", "value": "/"}}
MATCH = s.struct(
    path={
        **s.struct(
            type=s.one_of("Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
            value=s.text(1024, default="/"),
        ),
        "default": EVERYTHING["path"],
    },
    headers=s.many(NAME_VALUE, 16, ("name",)),
    queryParams=s.many(NAME_VALUE, 16, ("name",)),
    method=s.one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
)


def backend_refs(route_filter: Object) -> Object:
    """Return the schema of a rule's backendRefs, each with filters of its own."""
    weight, filters = s.number(0, 1000000, default=1), s.many(route_filter, 16)
    return s.many(s.struct(("name",), **s.BACKEND_REF, weight=weight, filters=filters), 16)


SPEC = s.struct(
    parentRefs=s.PARENT_REFS,
    hostnames=s.many(s.HOSTNAME, 16),
    rules=s.many(
        s.struct(
            name=s.text(253, 1),
            matches=s.many(MATCH, 64, default=[EVERYTHING]),
            filters=s.many(FILTER, 16),
            backendRefs=backend_refs(FILTER),
            timeouts=s.struct(request=s.DURATION, backendRequest=s.DURATION),
            retry=s.struct(codes=s.many(s.number(400, 599), 64), attempts=s.number(0, 1000), backoff=s.DURATION),
            sessionPersistence=s.SESSION_PERSISTENCE,
        ),
        16,
        default=[{"matches": [EVERYTHING]}],
    ),
)


def definition() -> Object:
    columns = (("Hostnames", "string", ".spec.hostnames"), s.AGE)
    return s.definition(HTTP_ROUTES, ("v1", "v1beta1"), SPEC, s.ROUTE_STATUS, (), columns)
