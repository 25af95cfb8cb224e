"""``stripPrefix``: the first of some prefixes that a path has is taken off it, and told in ``X-Forwarded-Prefix``.

The header is there where one prefix is possible: there is one, or the route matches by one of them. What is left of a path
that is the prefix is nothing to an ``addPrefix`` that follows, and ``/`` to a backend; with ``forceSlash``, ``/`` to both.
Source: Traefik v3, stripprefix.
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
    bare = [prefix.rstrip("/") for prefix in prefixes]
    stripped = "|".join(map(re.escape, bare))
    prefixed = None if settings.get("forceSlash") else emptied(bare)
    paths.rewrite(draft, f"^(?:{stripped})/?(.*)$", "/\\1", "prefixes", prefixed=prefixed)
    matched = ((site.match.get("path") or {}).get("value") or "/").rstrip("/")
    known = [prefix.rstrip("/") for prefix in prefixes if prefix.rstrip("/") == matched] or prefixes
    if len(known) == 1 and matched.startswith(known[0].rstrip("/")):
        paths.note_original(draft, HEADER, known[0].rstrip("/").replace("%", "%%"))


def emptied(prefixes: list[str]) -> tuple[str, str] | None:
    """Return what takes the prefixes off and leaves nothing of a path that is one. The slash that comes before what is left,
    where it has none, is the one that the prefix began with. None where a prefix has no slash to begin with."""
    if not all(prefix.startswith("/") for prefix in prefixes):
        return None
    reached = [one for place, one in enumerate(prefixes) if not any(one.startswith(p) for p in prefixes[:place])]
    whole, after_slash = ("|".join(re.escape(one[begins:]) for one in reached) for begins in (0, 1))
    return f"^(?:(?:{whole})(|/.*)|(/)(?:{after_slash})([^/].*))$", "\\1\\2\\3"
