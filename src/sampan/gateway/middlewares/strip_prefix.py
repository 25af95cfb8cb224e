"""``stripPrefix``: the first of some prefixes that a path has is taken off it, and told in ``X-Forwarded-Prefix``.

The header is there where one prefix is possible: there is one, or the route matches by one of them.
"""

from __future__ import annotations

import re

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import paths
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("prefixes", "forceSlash")
HEADER = "X-Forwarded-Prefix"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    prefixes = [prefix for prefix in settings.get("prefixes") or () if prefix]
    if not prefixes:
        raise Unsupported("prefixes: Required value")
    if settings.get("forceSlash") is False:
        raise Unsupported("forceSlash: a path always begins with a slash")
    stripped = "|".join(re.escape(prefix.rstrip("/")) for prefix in prefixes)
    paths.rewrite(draft, f"^(?:{stripped})/?(.*)$", "/\\1", "prefixes")
    matched = ((site.match.get("path") or {}).get("value") or "/").rstrip("/")
    known = [prefix.rstrip("/") for prefix in prefixes if prefix.rstrip("/") == matched] or prefixes
    if len(known) == 1 and matched.startswith(known[0].rstrip("/")):
        paths.note_original(draft, HEADER, known[0].rstrip("/").replace("%", "%%"))
