"""What is said of backends: BackendTLSPolicy, XBackendTrafficPolicy, XBackend. Source: Gateway API v1 and v1alpha1,
GEP-1897 (TLS to backends), GEP-3388 (retry budgets), GEP-4894 (XBackend)."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import BACKEND_TLS_POLICIES, BACKEND_TRAFFIC_POLICIES, BACKENDS
from sampan.schema.objects import Object

VALIDATION = s.struct(
    ("hostname",),
    caCertificateRefs=s.many(s.LOCAL_REF, 8),
    wellKnownCACertificates=s.text(253, 1),
    hostname=s.PRECISE_HOSTNAME,
    subjectAltNames=s.many(
        s.struct(("type",), type=s.one_of("Hostname", "URI"), hostname=s.HOSTNAME, uri=s.text(253, 1)), 5
    ),
)
TARGET = {"group": s.text(), "kind": s.text(63, 1), "name": s.text(253, 1)}
TLS_SPEC = s.struct(
    ("targetRefs", "validation"),
    targetRefs=s.many(s.struct(("group", "kind", "name"), **TARGET, sectionName=s.text(253, 1)), 16, minItems=1),
    validation=VALIDATION,
    options=s.LABELS,
)
INTERVAL = s.struct(count=s.number(1, 1000000), interval=s.DURATION)
TRAFFIC_SPEC = s.struct(
    ("targetRefs",),
    targetRefs=s.many(s.struct(("group", "kind", "name"), **TARGET), 16, ("group", "kind", "name"), minItems=1),
    retryConstraint=s.struct(
        budget=s.struct(percent=s.number(0, 100, default=20), interval={**s.DURATION, "default": "10s"}),
        minRetryRate={**INTERVAL, "default": {"count": 10, "interval": "1s"}},
    ),
    sessionPersistence=s.SESSION_PERSISTENCE,
)
BACKEND_SPEC = s.struct(
    ("type", "port"),
    type=s.one_of("ExternalHostname"),
    port=s.struct(("port",), name=s.text(63), port=s.number(1, 65535)),
    externalHostname=s.struct(("hostname",), hostname=s.PRECISE_HOSTNAME),
    protocol=s.one_of("MCP", "TCP", "HTTP", "HTTP2", "HTTP11", "H2C", "GRPC"),
    tls=s.struct(
        ("mode",),
        mode=s.one_of("None", "ServerOnly", "ClientAndServer"),
        clientCertificateRef=s.SECRET_REF,
        validation=VALIDATION,
    ),
)


def tls_policy_definition() -> Object:
    return s.definition(BACKEND_TLS_POLICIES, ("v1", "v1alpha3"), TLS_SPEC, s.POLICY_STATUS, ("btlspolicy",))


def traffic_policy_definition() -> Object:
    return s.definition(BACKEND_TRAFFIC_POLICIES, ("v1alpha1",), TRAFFIC_SPEC, s.POLICY_STATUS, ("xbtrafficpolicy",))


def backend_definition() -> Object:
    columns = (("Hostname", "string", ".spec.externalHostname.hostname"), s.AGE)
    return s.definition(BACKENDS, ("v1alpha1",), BACKEND_SPEC, s.ROUTE_STATUS, ("xbe",), columns)
