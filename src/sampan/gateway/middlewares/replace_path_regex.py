"""``replacePathRegex``: what an expression fits in a path is replaced; ``X-Replaced-Path`` has the one that came."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import paths
from sampan.gateway.middlewares.expressions import groups_of, substitution
from sampan.gateway.middlewares.replace_path import HEADER
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("regex", "replacement")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    expression = settings.get("regex") or ""
    if not expression:
        raise Unsupported("regex: Required value")
    groups = groups_of(expression, "regex")
    target = substitution(settings.get("replacement") or "", groups, "replacement")
    paths.rewrite(draft, expression, target, "regex")
    paths.note_original(draft, HEADER)
