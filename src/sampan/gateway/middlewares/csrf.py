"""``csrf`` (ours alone): requests that change things (POST, PUT, DELETE, PATCH) come from a page of the same host, by their
``Origin`` or ``Referer``, or of one of ``additionalOrigins`` (hosts, with ``*`` for any part); others get 403."""

from __future__ import annotations

from sampan.gateway.filters import cors
from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.schema.objects import Object

OPTIONS = ("additionalOrigins",)
TYPE = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy"
ALL = {"default_value": {"numerator": 100}}
FILTER = HttpFilter.of(12, "csrf", {"@type": TYPE, "filter_enabled": {"default_value": {"numerator": 0}}})


def apply(settings: Object, draft: Draft, site: Site) -> None:
    origins = [cors.origin(text) for text in settings.get("additionalOrigins") or ()]
    draft.need(FILTER, {"@type": TYPE, "filter_enabled": ALL, "additional_origins": origins})
