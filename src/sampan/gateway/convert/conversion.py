"""One conversion: which sources there are, and all of them together, so that they find each other (a canary its main Ingress,
a named port its Service, routes their common Gateway)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.gateway.convert.ingress import convert_ingresses
from sampan.gateway.convert.ingress_routes import GROUPS as TRAEFIK_GROUPS
from sampan.gateway.convert.ingress_routes import convert_ingress_routes
from sampan.gateway.convert.notes import Note
from sampan.gateway.convert.service_apis import GROUP as SERVICE_APIS
from sampan.gateway.convert.service_apis import convert_service_apis
from sampan.gateway.convert.sources import Sources
from sampan.schema.objects import Object

ENTRY_POINTS = {"web": 80, "websecure": 443, "traefik": 8080}
"""The entry points of Traefik's chart, and the ports they have for clients."""


@dataclass
class Conversion:
    objects: list[Object] = field(default_factory=list)
    """In the order to apply them in."""
    notes: list[Note] = field(default_factory=list)
    left_out: list[Object] = field(default_factory=list)
    """What is no source of this room: Services, Deployments and the like, unchanged."""


def convert(
    objects: Iterable[Object], gateway_class: str = "sampan", entry_points: Mapping[str, int] | None = None
) -> Conversion:
    """Return Gateway API v1 for what of ``objects`` was written for earlier APIs.

    ``entry_points``: ports of Traefik's entry points beyond ``ENTRY_POINTS``. Raises ``ValueError`` for a source that lacks
    what its API requires."""
    result = Conversion()
    sources = Sources(list(objects), gateway_class, {**ENTRY_POINTS, **(entry_points or {})}, result.notes)
    result.objects += convert_service_apis(sources)
    result.objects += convert_ingresses(sources)
    result.objects += convert_ingress_routes(sources)
    result.left_out = [obj for obj in sources.objects if not _is_source(obj)]
    return result


def _is_source(obj: Object) -> bool:
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return group in (SERVICE_APIS, *TRAEFIK_GROUPS) or obj.get("kind") in ("Ingress", "IngressClass")
