"""ExtensionRef: a filter that stands in an object of its own. ``KINDS`` says by whom which kind is read."""

from __future__ import annotations

from sampan.gateway.filters import hook, middleware
from sampan.gateway.filters.seam import Draft, Filter, Site
from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.gateway.model.verdicts import Unresolved
from sampan.schema.objects import Object

KINDS: dict[tuple[str, str], Filter] = {
    (OWN_GROUP, "Middleware"): middleware.apply,
    (OWN_GROUP, "Plugin"): hook.apply,
}
"""``(group, kind) -> filter``; it is called with the object's spec. The object's key stands in the filter's ``site``."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    group, kind = settings["group"], settings["kind"]
    key = f"{site.namespace}/{settings['name']}"
    reader = KINDS.get((group, kind))
    obj = site.world.get(kind, key) if reader is not None else None
    if reader is None or obj is None:
        raise Unresolved("InvalidKind", f"{kind}.{group} {key} does not exist")
    reader({**obj["spec"], "key": key}, draft, site)
