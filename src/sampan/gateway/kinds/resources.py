"""The resources the gateway reads and writes, by the versions it speaks. Source: Gateway API v1.6."""

from __future__ import annotations

from sampan.client.protocol import ResourceType

GROUP = "gateway.networking.k8s.io"
EXPERIMENTAL_GROUP = "gateway.networking.x-k8s.io"
OWN_GROUP = "gateway.sampan.dev"
TRAEFIK_GROUP = "traefik.io"
CONTROLLER = "sampan.dev/gateway"
MIDDLEWARES_ANNOTATION = "gateway.sampan.dev/middlewares"
INGRESS_CONTROLLER = "sampan.dev/ingress"
CLASS = "sampan"
BUNDLE_VERSION = "v1.6.1"


def controller_of(gateway_class: str) -> str:
    """Return the controllerName that a gateway of a class claims: several gateways of one cluster have one each."""
    return CONTROLLER if gateway_class == CLASS else f"{CONTROLLER}/{gateway_class}"


def ingress_controller_of(gateway_class: str) -> str:
    """Return the controller of the IngressClasses that a gateway of a class serves."""
    return INGRESS_CONTROLLER if gateway_class == CLASS else f"{INGRESS_CONTROLLER}/{gateway_class}"


GATEWAY_CLASSES = ResourceType(GROUP, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
GATEWAYS = ResourceType(GROUP, "v1", "gateways", "Gateway")
LISTENER_SETS = ResourceType(GROUP, "v1", "listenersets", "ListenerSet")
HTTP_ROUTES = ResourceType(GROUP, "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES = ResourceType(GROUP, "v1", "grpcroutes", "GRPCRoute")
TLS_ROUTES = ResourceType(GROUP, "v1", "tlsroutes", "TLSRoute")
TCP_ROUTES = ResourceType(GROUP, "v1", "tcproutes", "TCPRoute")
UDP_ROUTES = ResourceType(GROUP, "v1", "udproutes", "UDPRoute")
REFERENCE_GRANTS = ResourceType(GROUP, "v1", "referencegrants", "ReferenceGrant")
BACKEND_TLS_POLICIES = ResourceType(GROUP, "v1", "backendtlspolicies", "BackendTLSPolicy")
BACKENDS = ResourceType(EXPERIMENTAL_GROUP, "v1alpha1", "xbackends", "XBackend")
BACKEND_TRAFFIC_POLICIES = ResourceType(
    EXPERIMENTAL_GROUP, "v1alpha1", "xbackendtrafficpolicies", "XBackendTrafficPolicy"
)
MESHES = ResourceType(EXPERIMENTAL_GROUP, "v1alpha1", "xmeshes", "XMesh", namespaced=False)
MIDDLEWARES = ResourceType(OWN_GROUP, "v1alpha1", "middlewares", "Middleware")
TRAEFIK_MIDDLEWARES = ResourceType(TRAEFIK_GROUP, "v1alpha1", "middlewares", "Middleware")
TRAEFIK_TCP_MIDDLEWARES = ResourceType(TRAEFIK_GROUP, "v1alpha1", "middlewaretcps", "MiddlewareTCP")
INGRESS_ROUTES = tuple(
    ResourceType(TRAEFIK_GROUP, "v1alpha1", f"{kind.lower()}s", kind)
    for kind in ("IngressRoute", "IngressRouteTCP", "IngressRouteUDP")
)
TRAEFIK_SERVICES = ResourceType(TRAEFIK_GROUP, "v1alpha1", "traefikservices", "TraefikService")
PLUGINS = ResourceType(OWN_GROUP, "v1alpha1", "plugins", "Plugin")
PARAMETERS = ResourceType(OWN_GROUP, "v1alpha1", "gatewayparameters", "GatewayParameters")

ROUTES = (HTTP_ROUTES, GRPC_ROUTES, TLS_ROUTES, TCP_ROUTES, UDP_ROUTES)
DEFINED = (
    GATEWAY_CLASSES,
    GATEWAYS,
    LISTENER_SETS,
    *ROUTES,
    REFERENCE_GRANTS,
    BACKEND_TLS_POLICIES,
    BACKENDS,
    BACKEND_TRAFFIC_POLICIES,
    MESHES,
    MIDDLEWARES,
    TRAEFIK_MIDDLEWARES,
    TRAEFIK_TCP_MIDDLEWARES,
    *INGRESS_ROUTES,
    TRAEFIK_SERVICES,
    PLUGINS,
    PARAMETERS,
)
"""What a CustomResourceDefinition is needed for."""


def world_kind(resource: ResourceType) -> str:
    """Return under which kind the objects of a resource are known to each other: two groups have a Middleware."""
    return f"{resource.kind}.{resource.group}" if resource.group == TRAEFIK_GROUP else resource.kind
