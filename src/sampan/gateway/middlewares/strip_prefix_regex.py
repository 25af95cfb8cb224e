"""``stripPrefixRegex``: what an expression fits at the beginning of a path is taken off it."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import paths
from sampan.gateway.middlewares.expressions import groups_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("regex",)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    expressions = settings.get("regex") or []
    if not expressions:
        raise Unsupported("regex: Required value")
    groups = sum(groups_of(expression, "regex") for expression in expressions)
    if groups > 8:
        raise Unsupported("regex: more than eight groups")
    stripped = "|".join(expression.removeprefix("^") for expression in expressions)
    paths.rewrite(draft, f"^(?:{stripped})/?(.*)$", f"/\\{groups + 1}", "regex")
