"""The kinds the gateway reads: Gateway API's, standard and experimental channel, and our own.

``definitions`` returns the CustomResourceDefinitions, written here in short, one file for each kind: fields with their types
and bounds. A cluster that has Gateway API's own definitions keeps them (only missing ones are created).
"""

from __future__ import annotations

from sampan.gateway.kinds import backends, gateway, gateway_class, grpc_route, http_route, mesh, own, reference_grant
from sampan.gateway.kinds import stream_routes as streams
from sampan.schema.objects import Object


def definitions() -> list[Object]:
    """Return all definitions the gateway needs."""
    return [
        gateway_class.definition(),
        gateway.definition(),
        gateway.listener_set_definition(),
        http_route.definition(),
        grpc_route.definition(),
        streams.tls_definition(),
        streams.tcp_definition(),
        streams.udp_definition(),
        reference_grant.definition(),
        backends.tls_policy_definition(),
        backends.traffic_policy_definition(),
        backends.backend_definition(),
        mesh.definition(),
        own.middleware_definition(),
        *own.traefik_middleware_definitions(),
        *own.traefik_route_definitions(),
        own.plugin_definition(),
        own.parameters_definition(),
    ]
