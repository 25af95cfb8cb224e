"""Our own kinds: Middleware, Plugin, and GatewayParameters (access log and tracing of a Gateway or of the class); and
Traefik's, as far as they are read."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import (
    INGRESS_ROUTES,
    MIDDLEWARES,
    PARAMETERS,
    PLUGINS,
    TRAEFIK_MIDDLEWARES,
    TRAEFIK_SERVICES,
    TRAEFIK_TCP_MIDDLEWARES,
)
from sampan.schema.objects import Object

MIDDLEWARE_SPEC: s.Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""What it may say is said by ``middlewares/``: an option that is not known is told in the route's status, not pruned."""
PLUGIN_SPEC = s.struct(
    path=s.text(4096, 1, description="A directory on the gateway's machine, watched for changes."),
    source=s.text(262144, 1, description="The text of a module, instead of a directory."),
    settings={
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "description": "What the plugin is told; its plugin.toml says what may stand here.",
    },
    failure=s.one_of(
        "Closed",
        "Open",
        default="Closed",
        description="Whether a request passes (Open) or is answered with 500 (Closed) when the plugin fails.",
    ),
    timeout=s.DURATION | {"default": "10s", "description": "How long the plugin may take for a request."},
    reroutes=s.BOOLEAN | {"description": "Whether the route is chosen again by the headers that the hook has set."},
    configMapRef=s.struct(("name",), name=s.text(253, 1)),
    git=s.struct(
        ("url",),
        url=s.text(2048, 1, pattern=r"^(https?|ssh|git|file)://", description="A repository."),
        ref=s.text(255, 1, pattern=r"^[A-Za-z0-9_][\w./@-]*$", description="A branch, a tag or a commit; else HEAD."),
        path=s.text(1024, description="The plugin's directory in it; else all of it."),
        interval=s.DURATION | {"default": "1m", "description": "After what time it is asked again."},
        secretRef=s.struct(("name",), name=s.text(253, 1)),
    ),
    image=s.struct(
        ("reference",),
        reference=s.text(1024, 1, description="An image, or an artifact whose layers are files."),
        path=s.text(1024, description="The plugin's directory in it; else all of it."),
        interval=s.DURATION | {"default": "1m", "description": "After what time the registry is asked again."},
        plainHTTP=s.BOOLEAN | {"description": "Whether the registry is asked without TLS, as one on loopback is."},
        secretRef=s.struct(("name",), name=s.text(253, 1)),
    ),
    installed=s.text(253, 1, description="An entry point of the group sampan.gateway.plugins."),
    isolation=s.one_of(
        "Shared",
        "Process",
        description="Where it runs: in Envoy's process with others (Shared, the default of hooks and ASGI "
        "middlewares), or in a process of its own (Process), whose crash, hang or memory is nobody else's.",
    ),
    memory={
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "description": "How much memory a process of its own may take, as a quantity; when it has, it is started again.",
    },
    entryPoint=s.text(
        253, 3, description="module:function, in the place of plugin.toml's.", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
    ),
)
PLUGIN_STATUS = s.struct(
    conditions=s.CONDITIONS,
    liveVersion=s.text(64),
    revision=s.text(512),
    liveSince={"type": "string", "format": "date-time"},
)
PARAMETERS_SPEC = s.struct(
    accessLog=s.rule(
        s.struct(
            path=s.text(
                4096, 1, description="A file on the gateway's machine; without it, access.log beside envoy.log."
            ),
            format=s.text(4096, 1, description="Envoy's format string for a line."),
            stdout=s.BOOLEAN | {"description": "To the gateway's standard output too, or in the place of a file."},
            otlp={
                **s.struct(
                    ("backendRef",),
                    backendRef=s.struct(("name",), **s.BACKEND_REF),
                    serviceName=s.text(253, 1, default="sampan-gateway"),
                ),
                "description": "To a collector too, or in the place of a file: by OTLP over gRPC.",
            },
            json={
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": 1024},
                "description": "A JSON object a line: key → Envoy's format string.",
            },
        ),
        "!(has(self.format) && has(self.json))",
        "format and json are two forms of one line: only one may be set",
    ),
    tracing=s.struct(
        ("backendRef",),
        backendRef=s.struct(("name",), **s.BACKEND_REF),
        serviceName=s.text(253, 1, default="sampan-gateway"),
        samplingPercent=s.number(0, 100, default=100),
    ),
    http3={
        **s.struct(
            advertisedPort=s.number(
                1, 65535, description="The UDP port that clients are told; without it, the listener's own."
            )
        ),
        "description": "HTTP/3 too, on the UDP port of every HTTPS listener; its answers say so (alt-svc). Listeners that "
        "ask clients for certificates are left out.",
    },
    clients=s.struct(
        requestHeadersTimeout=s.DURATION
        | {"default": "1m", "description": "How long a client may take for the head of a request."},
        requestTimeout=s.DURATION
        | {
            "description": "How long it may take for a whole request, its body included; without it, as long as it likes."
        },
        idleTimeout=s.DURATION | {"default": "1h", "description": "How long a connection stays without a request."},
        streamIdleTimeout=s.DURATION
        | {
            "description": "How long a request stays on which nothing is sent or received; without it, as long as it likes."
        },
        maxHeadersKiB=s.number(
            1, 8192, default=60, description="All headers of a request together; more is answered with 431."
        ),
        maxHeaders=s.number(
            1, 1000, default=100, description="The number of a request's headers; more is answered with 431."
        ),
        underscoresInHeaders=s.one_of(
            "Drop",
            "Reject",
            "Allow",
            default="Drop",
            description="What is done with headers that have a _ in their name: to many servers they are those with a -, "
            "which the gateway sets and clients must not.",
        ),
    ),
    metrics=s.struct(
        routes=s.BOOLEAN
        | {"description": "Whether each rule of a route is counted, for each host name; it costs memory."}
    ),
    manyHosts={
        **s.BOOLEAN,
        "description": "The table of routes in parts: for thousands of hosts on one port that change often. "
        "Host names of requests are then compared as they are written, in lower case.",
    },
)


def middleware_definition() -> Object:
    return s.definition(MIDDLEWARES, ("v1alpha1",), MIDDLEWARE_SPEC, None, ("mw",))


def traefik_middleware_definitions() -> list[Object]:
    kinds = (TRAEFIK_MIDDLEWARES, TRAEFIK_TCP_MIDDLEWARES)
    return [s.definition(kind, ("v1alpha1",), MIDDLEWARE_SPEC, None) for kind in kinds]


def traefik_route_definitions() -> list[Object]:
    """Return IngressRoutes and TraefikServices: what they may say is said by ``convert/``, field by field, in Events."""
    return [s.definition(kind, ("v1alpha1",), MIDDLEWARE_SPEC, None) for kind in (*INGRESS_ROUTES, TRAEFIK_SERVICES)]


def plugin_definition() -> Object:
    columns = (s.condition_column("Live"), ("Version", "string", ".status.liveVersion"), s.AGE)
    return s.definition(PLUGINS, ("v1alpha1",), PLUGIN_SPEC, PLUGIN_STATUS, (), columns)


def parameters_definition() -> Object:
    return s.definition(PARAMETERS, ("v1alpha1",), PARAMETERS_SPEC, None, ("gwparams",))
