"""Filters of routes: one file each, all of one shape (``seam.py``), listed here.

A new filter is a file with a function, and a line in ``FILTERS`` (by the type a route writes) or in ``extension.KINDS`` (by
the group and kind of the object an ExtensionRef names).
"""

from __future__ import annotations

from sampan.gateway.filters import cors, extension, external_auth, headers, mirror, rewrite, safe_retry, session
from sampan.gateway.filters.seam import Draft, Filter, HttpFilter, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

__all__ = ["ALWAYS", "FILTERS", "Draft", "Filter", "HttpFilter", "Site", "apply_filter"]

FILTERS: dict[str, tuple[str, Filter]] = {
    "RequestHeaderModifier": ("requestHeaderModifier", headers.request),
    "ResponseHeaderModifier": ("responseHeaderModifier", headers.response),
    "RequestMirror": ("requestMirror", mirror.apply),
    "RequestRedirect": ("requestRedirect", rewrite.redirect),
    "URLRewrite": ("urlRewrite", rewrite.rewrite),
    "CORS": ("cors", cors.apply),
    "ExternalAuth": ("externalAuth", external_auth.apply),
    "ExtensionRef": ("extensionRef", extension.apply),
}
"""Type → the name of its settings, and who reads them."""

ALWAYS = (cors.FILTER, session.FILTER, safe_retry.FILTER)
"""Filters that every listener has: the first route that wakes one then changes no listener, and drains no connection."""

AT_BACKENDS = ("RequestHeaderModifier", "ResponseHeaderModifier")


def apply_filter(item: Object, draft: Draft, site: Site) -> None:
    """Apply one filter of a route. Raises ``Unsupported`` or ``Unresolved``."""
    kind = item["type"]
    body, function = FILTERS.get(kind, ("", None))
    if function is None:
        raise Unsupported(f"filter {kind} is not served")
    if item.get(body) is None:
        raise Unsupported(f"filter {kind} needs {body}")
    if site.on_backend and kind not in AT_BACKENDS:
        raise Unsupported(f"filter {kind} is not served at a backendRef")
    function(item[body], draft, site)
