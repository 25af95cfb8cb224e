"""``plugin``: a Plugin (``gateway.sampan.dev``) of the namespace, by its name: ``plugin: {geo: {}}``."""

from __future__ import annotations

from sampan.gateway.filters import hook
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.schema.objects import Object

OPTIONS = None
"""Any: it is the name of a Plugin."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    if len(settings) != 1:
        raise Unsupported("one Plugin is expected")
    ((name, options),) = settings.items()
    key = f"{site.namespace}/{name}"
    obj = site.world.get("Plugin", key)
    if obj is None:
        raise Unresolved("InvalidKind", f"Plugin {key} does not exist")
    for option in options or {}:
        raise Unsupported(f"{name}.{option}: a Plugin has no settings in a Middleware")
    hook.apply({**(obj.get("spec") or {}), "key": key, "kind": "Plugin"}, draft, site)
