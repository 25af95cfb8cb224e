"""Gateway and ListenerSet, which share their listeners. Source: Gateway API v1, GEP-1713 (ListenerSet), GEP-91 (client
certificates)."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import GATEWAYS, GROUP, LISTENER_SETS
from sampan.schema.objects import Object

NAMESPACES = {"from": s.one_of("All", "Selector", "Same", "None", default="Same")}
LISTENER = s.struct(
    ("name", "port", "protocol"),
    name=s.text(253, 1),
    hostname=s.HOSTNAME,
    port=s.number(1, 65535),
    protocol=s.text(255, 1),
    tls=s.struct(
        mode=s.one_of("Terminate", "Passthrough", default="Terminate"),
        certificateRefs=s.many(s.SECRET_REF),
        options=s.LABELS,
    ),
    allowedRoutes={
        **s.struct(
            namespaces={**s.struct(**NAMESPACES, selector=s.SELECTOR), "default": {"from": "Same"}},
            kinds=s.many(s.ROUTE_KIND, 8),
        ),
        "default": {"namespaces": {"from": "Same"}},
    },
)
LISTENERS = s.rule(
    s.rule(
        s.many(LISTENER, 64, ("name",), minItems=1),
        "self.all(l, !(l.protocol in ['HTTP', 'TCP', 'UDP']) || !has(l.tls))",
        "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
    ),
    "self.all(l, !(l.protocol in ['TCP', 'UDP']) || !has(l.hostname) || l.hostname == '')",
    "hostname must not be specified for protocols ['TCP', 'UDP']",
)
ADDRESS = s.struct(("value",), type=s.text(253, default="IPAddress"), value=s.text(253, 1))
CA_REF = s.struct(
    ("group", "kind", "name"), group=s.text(), kind=s.text(63, 1), name=s.text(253, 1), namespace=s.text(63)
)
VALIDATION = s.struct(
    validation=s.struct(
        ("caCertificateRefs",),
        caCertificateRefs=s.many(CA_REF, 8, minItems=1),
        mode=s.one_of("AllowValidOnly", "AllowInsecureFallback", default="AllowValidOnly"),
    )
)
SPEC = s.struct(
    ("gatewayClassName", "listeners"),
    gatewayClassName=s.text(253, 1),
    listeners=LISTENERS,
    addresses=s.many(s.struct(type=s.text(253, default="IPAddress"), value=s.text(253)), 16),
    infrastructure=s.struct(labels=s.LABELS, annotations=s.LABELS, parametersRef=s.LOCAL_REF),
    allowedListeners=s.struct(
        namespaces=s.struct(
            **{"from": s.one_of("All", "Selector", "Same", "None", default="None")}, selector=s.SELECTOR
        )
    ),
    tls=s.struct(
        backend=s.struct(clientCertificateRef=s.SECRET_REF),
        frontend=s.struct(
            ("default",),
            default=VALIDATION,
            perPort=s.many(s.struct(("port", "tls"), port=s.number(1, 65535), tls=VALIDATION), 64, ("port",)),
        ),
    ),
)
LISTENER_STATUSES = s.many(
    s.struct(
        ("name", "attachedRoutes", "conditions"),
        name=s.text(253, 1),
        supportedKinds=s.many(s.ROUTE_KIND, 8),
        attachedRoutes={"type": "integer", "format": "int32"},
        conditions=s.CONDITIONS,
    ),
    64,
    ("name",),
)
STATUS = s.struct(
    addresses=s.many(ADDRESS, 16),
    conditions=s.CONDITIONS,
    listeners=LISTENER_STATUSES,
    attachedListenerSets={"type": "integer", "format": "int32", "minimum": 0},
)
LISTENER_SET_SPEC = s.struct(
    ("parentRef", "listeners"),
    parentRef=s.struct(
        ("name",),
        group=s.text(default=GROUP),
        kind=s.text(63, default="Gateway"),
        namespace=s.text(63),
        name=s.text(253, 1),
    ),
    listeners=LISTENERS,
)
LISTENER_SET_STATUS = s.struct(conditions=s.CONDITIONS, listeners=LISTENER_STATUSES)


def definition() -> Object:
    columns = (
        ("Class", "string", ".spec.gatewayClassName"),
        ("Address", "string", ".status.addresses[*].value"),
        s.condition_column("Programmed"),
        s.AGE,
    )
    return s.definition(GATEWAYS, ("v1", "v1beta1"), SPEC, STATUS, ("gtw",), columns)


def listener_set_definition() -> Object:
    columns = (s.condition_column("Accepted"), s.condition_column("Programmed"), s.AGE)
    return s.definition(LISTENER_SETS, ("v1",), LISTENER_SET_SPEC, LISTENER_SET_STATUS, ("lset",), columns)
