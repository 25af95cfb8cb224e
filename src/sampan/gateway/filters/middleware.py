"""Middleware (``gateway.sampan.dev``), by ExtensionRef. ``headers`` sets headers; an empty value removes the header."""

from __future__ import annotations

from sampan.gateway.filters import headers
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.schema.objects import Object


def apply(settings: Object, draft: Draft, site: Site) -> None:
    body = settings.get("headers") or {}
    for which, name in (("request", "customRequestHeaders"), ("response", "customResponseHeaders")):
        values = body.get(name) or {}
        change = {
            "set": [{"name": n, "value": v} for n, v in values.items() if v],
            "remove": [n for n, v in values.items() if not v],
        }
        try:
            headers.change(change, draft, which)
        except Unsupported as error:
            raise Unresolved("InvalidMiddleware", f"Middleware: {error}") from error
