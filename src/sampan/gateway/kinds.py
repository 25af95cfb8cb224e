"""The kinds the gateway reads: Gateway API's (standard channel, what we serve of it) and our own Middleware and Plugin.

``definitions`` returns the CustomResourceDefinitions, written here in short: fields with their types and bounds. A cluster
that has Gateway API's own definitions keeps them (only missing ones are created). Source: Gateway API v1.
"""

from __future__ import annotations

from typing import Any

from sampan.client.protocol import ResourceType
from sampan.schema.objects import Object

GROUP = "gateway.networking.k8s.io"
OWN_GROUP = "gateway.sampan.dev"
CONTROLLER = "sampan.dev/gateway"
CLASS = "sampan"
BUNDLE_VERSION = "v1.6.1"

GATEWAY_CLASSES = ResourceType(GROUP, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
GATEWAYS = ResourceType(GROUP, "v1", "gateways", "Gateway")
HTTP_ROUTES = ResourceType(GROUP, "v1", "httproutes", "HTTPRoute")
REFERENCE_GRANTS = ResourceType(GROUP, "v1beta1", "referencegrants", "ReferenceGrant")
MIDDLEWARES = ResourceType(OWN_GROUP, "v1alpha1", "middlewares", "Middleware")
PLUGINS = ResourceType(OWN_GROUP, "v1alpha1", "plugins", "Plugin")

Schema = dict[str, Any]


def text(maximum: int = 253, minimum: int = 0, **more: Any) -> Schema:
    return {"type": "string", "maxLength": maximum, **({"minLength": minimum} if minimum else {}), **more}


def number(minimum: int, maximum: int, **more: Any) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": minimum, "maximum": maximum, **more}


def struct(required: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, **({"required": list(required)} if required else {})}


def many(item: Schema, maximum: int = 64, keys: tuple[str, ...] = (), **more: Any) -> Schema:
    schema: Schema = {"type": "array", "items": item, "maxItems": maximum, **more}
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return schema


def one_of(*values: str, **more: Any) -> Schema:
    return {"type": "string", "enum": list(values), **more}


HOSTNAME = text(253, 1, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
DURATION = text(32, pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
SELECTOR = struct(
    matchLabels=LABELS,
    matchExpressions=many(
        struct(("key", "operator"), key=text(), operator=text(32), values=many({"type": "string"}, 256))
    ),
)
CONDITIONS = many(
    struct(
        ("lastTransitionTime", "message", "reason", "status", "type"),
        type=text(316),
        status=one_of("True", "False", "Unknown"),
        reason=text(1024, 1),
        message=text(32768),
        lastTransitionTime={"type": "string", "format": "date-time"},
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
    ),
    8,
    ("type",),
)
PARENT_REF = struct(
    ("name",),
    group=text(default=GROUP),
    kind=text(63, default="Gateway"),
    namespace=text(63),
    name=text(253, 1),
    sectionName=text(253, 1),
    port=number(1, 65535),
)
HEADERS = many(struct(("name", "value"), name=text(256, 1), value=text(4096, 1)), 16, ("name",))
HEADER_FILTER = struct(set=HEADERS, add=HEADERS, remove=many({"type": "string"}, 16))
PATH_CHANGE = struct(
    ("type",),
    type=one_of("ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath=text(1024),
    replacePrefixMatch=text(1024),
)
BACKEND_REF = {
    "group": text(default=""),
    "kind": text(63, default="Service"),
    "namespace": text(63),
    "name": text(253, 1),
    "port": number(1, 65535),
}
FILTER = struct(
    ("type",),
    type=one_of(
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
    ),
    requestHeaderModifier=HEADER_FILTER,
    responseHeaderModifier=HEADER_FILTER,
    requestMirror=struct(("backendRef",), backendRef=struct(("name",), **BACKEND_REF)),
    requestRedirect=struct(
        scheme=one_of("http", "https"),
        hostname=HOSTNAME,
        path=PATH_CHANGE,
        port=number(1, 65535),
        statusCode={"type": "integer", "enum": [301, 302, 303, 307, 308], "default": 302},
    ),
    urlRewrite=struct(hostname=HOSTNAME, path=PATH_CHANGE),
    extensionRef=struct(("group", "kind", "name"), group=text(), kind=text(63, 1), name=text(253, 1)),
)
NAME_VALUE = struct(
    ("name", "value"),
    type=one_of("Exact", "RegularExpression", default="Exact"),
    name=text(256, 1),
    value=text(4096, 1),
)
MATCH = struct(
    path={
        **struct(
            type=one_of("Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
            value=text(1024, default="/"),
        ),
        "default": {"type": "PathPrefix", "value": "/"},
    },
    headers=many(NAME_VALUE, 16, ("name",)),
    queryParams=many(NAME_VALUE, 16, ("name",)),
    method=one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
)
ROUTE_SPEC = struct(
    parentRefs=many(PARENT_REF, 32),
    hostnames=many(HOSTNAME, 16),
    rules=many(
        struct(
            name=text(253, 1),
            matches=many(MATCH, 64, default=[{"path": {"type": "PathPrefix", "value": "/"}}]),
            filters=many(FILTER, 16),
            backendRefs=many(
                struct(("name",), **BACKEND_REF, weight=number(0, 1000000, default=1), filters=many(FILTER, 16)), 16
            ),
            timeouts=struct(request=DURATION, backendRequest=DURATION),
        ),
        16,
        default=[{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
    ),
)
ROUTE_STATUS = struct(
    ("parents",),
    parents=many(
        struct(
            ("parentRef", "controllerName"), parentRef=PARENT_REF, controllerName=text(253, 1), conditions=CONDITIONS
        ),
        32,
    ),
)
CERTIFICATE_REF = struct(
    ("name",), group=text(default=""), kind=text(63, default="Secret"), namespace=text(63), name=text(253, 1)
)
ROUTE_KIND = struct(("kind",), group=text(default=GROUP), kind=text(63, 1))
LISTENER = struct(
    ("name", "port", "protocol"),
    name=text(253, 1),
    hostname=HOSTNAME,
    port=number(1, 65535),
    protocol=text(255, 1),
    tls=struct(mode=one_of("Terminate", "Passthrough", default="Terminate"), certificateRefs=many(CERTIFICATE_REF)),
    allowedRoutes={
        **struct(
            namespaces={
                **struct(**{"from": one_of("All", "Selector", "Same", "None", default="Same")}, selector=SELECTOR),
                "default": {"from": "Same"},
            },
            kinds=many(ROUTE_KIND, 8),
        ),
        "default": {"namespaces": {"from": "Same"}},
    },
)
ADDRESS = struct(("value",), type=text(253, default="IPAddress"), value=text(253, 1))
GATEWAY_SPEC = struct(
    ("gatewayClassName", "listeners"),
    gatewayClassName=text(253, 1),
    listeners=many(LISTENER, 64, ("name",), minItems=1),
    addresses=many(struct(type=text(253, default="IPAddress"), value=text(253)), 16),
    infrastructure=struct(labels=LABELS, annotations=LABELS),
)
GATEWAY_STATUS = struct(
    addresses=many(ADDRESS, 16),
    conditions=CONDITIONS,
    listeners=many(
        struct(
            ("name", "attachedRoutes", "conditions"),
            name=text(253, 1),
            supportedKinds=many(ROUTE_KIND, 8),
            attachedRoutes={"type": "integer", "format": "int32"},
            conditions=CONDITIONS,
        ),
        64,
        ("name",),
    ),
)
CLASS_SPEC = struct(
    ("controllerName",),
    controllerName=text(253, 1),
    description=text(64),
    parametersRef=struct(("group", "kind", "name"), group=text(), kind=text(63), name=text(), namespace=text(63)),
)
CLASS_STATUS = struct(
    conditions=CONDITIONS, supportedFeatures=many(struct(("name",), name={"type": "string"}), 128, ("name",))
)
GRANT_SPEC = struct(
    ("from", "to"),
    **{"from": many(struct(("group", "kind", "namespace"), group=text(), kind=text(63), namespace=text(63, 1)), 16)},
    to=many(struct(("group", "kind"), group=text(), kind=text(63), name=text(253)), 16),
)
VALUES: Schema = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 4096}}
MIDDLEWARE_SPEC = struct(
    headers=struct(customRequestHeaders=VALUES, customResponseHeaders=VALUES),
)
PLUGIN_SPEC = struct(
    path=text(4096, 1, description="A directory on the gateway's machine, watched for changes."),
    source=text(262144, 1, description="The text of a module, instead of a directory."),
    entryPoint=text(253, 3, default="plugin:request", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"),
)
PLUGIN_STATUS = struct(conditions=CONDITIONS, liveVersion=text(64), liveSince={"type": "string", "format": "date-time"})

Column = tuple[str, str, str]
AGE: Column = ("Age", "date", ".metadata.creationTimestamp")


def definition(
    resource: ResourceType,
    versions: tuple[str, ...],
    spec: Schema,
    status: Schema | None,
    short_names: tuple[str, ...] = (),
    columns: tuple[Column, ...] = (AGE,),
) -> Object:
    """Return one CustomResourceDefinition; all its versions have the same schema."""
    schema: Schema = struct(
        ("spec",), apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"}, spec=spec
    )
    if status is not None:
        schema["properties"]["status"] = status
    annotations = {}
    if resource.group == GROUP:
        annotations = {f"{GROUP}/bundle-version": BUNDLE_VERSION, f"{GROUP}/channel": "standard"}
        # *.k8s.io is a protected group: the annotation says who approved a definition, and nobody approved our wording
        annotations["api-approved.kubernetes.io"] = "unapproved, the schema is sampan's own"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}", "annotations": annotations},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(short_names),
                "categories": ["gateway-api"] if resource.group == GROUP else ["sampan"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    **({"subresources": {"status": {}}} if status is not None else {}),
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in columns
                    ],
                }
                for version in versions
            ],
        },
    }


def definitions() -> list[Object]:
    """Return all definitions the gateway needs."""
    accepted = '.status.conditions[?(@.type=="Accepted")].status'
    programmed = '.status.conditions[?(@.type=="Programmed")].status'
    live = '.status.conditions[?(@.type=="Live")].status'
    return [
        definition(
            GATEWAY_CLASSES,
            ("v1", "v1beta1"),
            CLASS_SPEC,
            CLASS_STATUS,
            ("gc",),
            (("Controller", "string", ".spec.controllerName"), ("Accepted", "string", accepted), AGE),
        ),
        definition(
            GATEWAYS,
            ("v1", "v1beta1"),
            GATEWAY_SPEC,
            GATEWAY_STATUS,
            ("gtw",),
            (
                ("Class", "string", ".spec.gatewayClassName"),
                ("Address", "string", ".status.addresses[*].value"),
                ("Programmed", "string", programmed),
                AGE,
            ),
        ),
        definition(
            HTTP_ROUTES,
            ("v1", "v1beta1"),
            ROUTE_SPEC,
            ROUTE_STATUS,
            (),
            (("Hostnames", "string", ".spec.hostnames"), AGE),
        ),
        definition(REFERENCE_GRANTS, ("v1beta1", "v1"), GRANT_SPEC, None, ("refgrant",)),
        definition(MIDDLEWARES, ("v1alpha1",), MIDDLEWARE_SPEC, None, ("mw",)),
        definition(
            PLUGINS,
            ("v1alpha1",),
            PLUGIN_SPEC,
            PLUGIN_STATUS,
            (),
            (("Live", "string", live), ("Version", "string", ".status.liveVersion"), AGE),
        ),
    ]
