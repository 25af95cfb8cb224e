"""``cors`` (ours alone): Gateway API's CORS filter as a Middleware, so that a whole Gateway may have it.

A preflight is answered where it matches a route: one that matches ``method: GET`` alone is met by none.
"""

from __future__ import annotations

import re

from sampan.gateway.filters import cors
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

LISTS = ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders")
OPTIONS = (*LISTS, "allowCredentials", "maxAge")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    for name in LISTS:
        for text in settings.get(name) or ():
            if not isinstance(text, str) or not (ORIGIN if name == "allowOrigins" else TOKEN).fullmatch(text):
                raise Unsupported(f"{name}: {text!r} cannot stand there")
    if not settings.get("allowOrigins"):
        raise Unsupported("allowOrigins: Required value")
    age = settings.get("maxAge")
    if age is not None and (not isinstance(age, int) or age < 1):
        raise Unsupported("maxAge: must be 1 or more")
    cors.apply(settings, draft, site)
