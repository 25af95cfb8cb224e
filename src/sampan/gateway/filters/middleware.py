"""Middleware (``gateway.sampan.dev``, and Traefik's own), by ExtensionRef. What it does stands in ``middlewares/``."""

from __future__ import annotations

from sampan.gateway import middlewares
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object


def apply(settings: Object, draft: Draft, site: Site) -> None:
    try:
        middlewares.apply(settings, draft, site)
    except Unsupported as error:
        raise Unsupported(f"Middleware {settings['key']}: {error}") from error
