"""Middlewares of a whole Gateway, or of all rules of a route: the annotation ``gateway.sampan.dev/middlewares``.

Its value names Middlewares of the object's own namespace, in order: ``strip, traefik.io/limit``. See ADR 67.
"""

from __future__ import annotations

from dataclasses import replace

from sampan.gateway.filters import extension
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.kinds.resources import MIDDLEWARES_ANNOTATION, OWN_GROUP
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object


def named(obj: Object) -> str:
    """Return what an object's annotation says, ``""`` where it has none."""
    return str((obj["metadata"].get("annotations") or {}).get(MIDDLEWARES_ANNOTATION) or "")


def references(text: str, kind: str) -> list[Object]:
    """Return the references of an annotation's value, as an ExtensionRef has them. Raises ``Unsupported``."""
    found = []
    for part in text.split(",") if text.strip() else ():
        group, _, name = part.strip().rpartition("/")
        if not name or "/" in group:
            raise Unsupported(f"annotation {MIDDLEWARES_ANNOTATION}: {part.strip()!r} is neither NAME nor GROUP/NAME")
        found.append({"group": group or OWN_GROUP, "kind": kind, "name": name})
    return found


def apply(draft: Draft, site: Site, gateway: str, gateway_says: str) -> None:
    """Apply the Middlewares of the Gateway (its key, and what its annotation says), then those of the route. Raises
    ``Unsupported``, ``Unresolved``."""
    if gateway_says:
        namespace, _, name = gateway.partition("/")
        stands = {"kind": "Gateway", "metadata": {"namespace": namespace, "name": name}, "spec": {}}
        try:
            for reference in references(gateway_says, "Middleware"):
                extension.apply(reference, draft, replace(site, route=stands))
        except Unsupported as error:
            raise Unsupported(f"Gateway {gateway}: {error}") from error
    for reference in references(named(site.route), "Middleware"):
        extension.apply(reference, draft, site)
