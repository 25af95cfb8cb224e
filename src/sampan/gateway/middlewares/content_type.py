"""``contentType``: an answer without a content type gets the one that its first bytes tell.

It is looked at where its length is told and not above 1 MiB: a stream is not held back for it.
"""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import scripts
from sampan.schema.objects import Object

OPTIONS = ("autoDetect",)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    if settings.get("autoDetect") is not False:
        scripts.run(draft, 85, "content_type", {})
