"""The resources that a gateway watches."""

from __future__ import annotations

from sampan.client.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    INGRESS_CLASSES,
    INGRESSES,
    NAMESPACES,
    SECRETS,
    SERVICES,
)
from sampan.gateway.kinds import resources as kinds

WATCHED = (
    *kinds.DEFINED,
    SERVICES,
    ENDPOINT_SLICES,
    SECRETS,
    CONFIG_MAPS,
    NAMESPACES,
    INGRESS_CLASSES,
    INGRESSES,
)
RESOURCES = {kinds.world_kind(resource): resource for resource in WATCHED}
