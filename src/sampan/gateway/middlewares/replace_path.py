"""``replacePath``: the whole path is another; the backend is told the one that came in ``X-Replaced-Path``."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import paths
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("path",)
HEADER = "X-Replaced-Path"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    path = settings.get("path") or ""
    if not path.startswith("/"):
        raise Unsupported("path: must begin with a slash")
    paths.rewrite(draft, "^.*$", path.replace("\\", "\\\\"), "path")
    paths.note_original(draft, HEADER)
