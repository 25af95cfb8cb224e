"""URLRewrite and RequestRedirect. Source: Gateway API v1 HTTPURLRewriteFilter, HTTPRequestRedirectFilter."""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

REDIRECT_CODES = {301: 0, 302: 1, 303: 2, 307: 3, 308: 4}
DEFAULT_PORTS = {"http": 80, "https": 443}


def rewrite(settings: Object, draft: Draft, site: Site) -> None:
    if settings.get("hostname"):
        draft.forward["host_rewrite_literal"] = settings["hostname"]
    changed = path_change(settings.get("path") or {}, site.match)
    if changed is not None:
        draft.forward["regex_rewrite"] = changed


def redirect(settings: Object, draft: Draft, site: Site) -> None:
    result: dict[str, Any] = {"response_code": REDIRECT_CODES[settings.get("statusCode", 302)]}
    scheme, port = settings.get("scheme"), settings.get("port")
    if scheme:
        result["scheme_redirect"] = scheme
    if settings.get("hostname"):
        result["host_redirect"] = settings["hostname"]
    # without a port the scheme's is meant, and without a scheme the listener's; what the scheme implies is not written
    if port is None and not scheme and site.listener_port not in DEFAULT_PORTS.values():
        port = site.listener_port
    if port is not None and DEFAULT_PORTS.get(scheme or ("https" if site.listener_port == 443 else "http")) != port:
        result["port_redirect"] = port
    path = settings.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        result["path_redirect"] = path.get("replaceFullPath") or "/"
    else:
        changed = path_change(path, site.match)
        if changed is not None:
            result["regex_rewrite"] = changed
    draft.redirect = result


def path_change(path: Object, match: Object) -> dict[str, Any] | None:
    """Return the rewrite of a path modifier: ``/foo`` becomes ``/xyz``, not ``/xyz/``; with nothing to put there, ``/``."""
    kind = path.get("type")
    if kind == "ReplaceFullPath":
        replacement = (path.get("replaceFullPath") or "/").replace("\\", "\\\\")
        return {"pattern": {"regex": "^.*$"}, "substitution": replacement}
    if kind != "ReplacePrefixMatch":
        return None
    matched = match.get("path") or {}
    if matched.get("type", "PathPrefix") != "PathPrefix":
        raise Unsupported("ReplacePrefixMatch needs matches of the type PathPrefix")
    prefix = (matched.get("value") or "/").rstrip("/")
    replacement = (path.get("replacePrefixMatch") or "/").rstrip("/").replace("\\", "\\\\")
    rest = "(/.*)?" if replacement else "/*(.*)"
    return {
        "pattern": {"regex": f"^{re.escape(prefix)}{rest}$"},
        "substitution": f"{replacement}\\1" if replacement else "/\\1",
    }
