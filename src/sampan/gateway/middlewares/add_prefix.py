"""``addPrefix``: a prefix is put before the path."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import paths
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("prefix",)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    prefix = settings.get("prefix") or ""
    if not prefix:
        raise Unsupported("prefix: Required value")
    paths.prepend(draft, "/" + prefix.strip("/"))
