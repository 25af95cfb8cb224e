"""What the objects' status says: only what is true. ``STATUSES`` has one function for each kind.

A function reads its object and what the model made of it, and returns the whole status, or None when it has nothing to say.
It is called when Envoy has answered to what the object came to. Source: Gateway API v1, conditions and their reasons.
"""

from __future__ import annotations

from sampan.gateway.ingress import outcome
from sampan.gateway.ingress.translation import KINDS as TRANSLATED
from sampan.gateway.kinds import resources as r
from sampan.gateway.status import gateway, gateway_class, listener_set, plugin, policies, routes
from sampan.gateway.status.conditions import Moment, Status

STATUSES: dict[str, Status] = {
    r.GATEWAY_CLASSES.kind: gateway_class.status,
    r.MESHES.kind: gateway_class.mesh_status,
    r.GATEWAYS.kind: gateway.status,
    r.LISTENER_SETS.kind: listener_set.status,
    **{resource.kind: routes.status_function(resource.kind) for resource in r.ROUTES},
    r.BACKEND_TLS_POLICIES.kind: policies.tls_status,
    r.BACKEND_TRAFFIC_POLICIES.kind: policies.traffic_status,
    r.BACKENDS.kind: policies.backend_status,
    r.PLUGINS.kind: plugin.status,
    **{kind: outcome.status_function(kind) for kind in TRANSLATED},
}

__all__ = ["STATUSES", "Moment", "Status"]
