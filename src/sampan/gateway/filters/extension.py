"""ExtensionRef: a filter that stands in an object of its own. ``KINDS`` says by whom which kind is read."""

from __future__ import annotations

from sampan.gateway.filters import hook, middleware
from sampan.gateway.filters.seam import Draft, Filter, Site
from sampan.gateway.kinds.resources import OWN_GROUP, TRAEFIK_GROUP
from sampan.gateway.model.verdicts import Unresolved
from sampan.schema.objects import Object

KINDS: dict[tuple[str, str], Filter] = {
    (OWN_GROUP, "Middleware"): middleware.apply,
    (TRAEFIK_GROUP, "Middleware"): middleware.apply,
    (OWN_GROUP, "Plugin"): hook.apply,
}
"""``(group, kind) -> filter``; it is called with the object's spec, and with its ``key`` and ``kind`` there."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    group, kind = settings["group"], settings["kind"]
    key = f"{site.namespace}/{settings['name']}"
    reader = KINDS.get((group, kind))
    known = f"{kind}.{group}" if group == TRAEFIK_GROUP else kind
    obj = site.world.get(known, key) if reader is not None else None
    if reader is None or obj is None:
        raise Unresolved("InvalidKind", f"{kind}.{group} {key} does not exist")
    reader({**(obj.get("spec") or {}), "key": key, "kind": known}, draft, site)
