"""``redirectRegex``: a redirect by an expression over the whole URL.

Envoy redirects scheme, host and path apart: an expression of the form ``^SCHEME://HOST/PATH`` with a host that is a name,
or ``(.*)`` over all of the rest, and a replacement of the same form, it does by itself. Any other is our hook's.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.rewrite import REDIRECT_CODES
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares.expressions import groups_of, substitution
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

HOOK = "redirect_regex"
OPTIONS = ("regex", "replacement", "permanent")
FROM = re.compile(r"\^?(https?\??)://(?:(?P<host>(?:[a-z0-9-]|\\?\.)+)(?::\d+)?(?P<path>/.*)?|(?P<rest>\(\.[*+]\)))\$?")
TO = re.compile(
    r"(?P<scheme>https?)://(?:(?P<host>[a-z0-9.-]+)(?::(?P<port>\d+))?(?P<path>/.*)?|(?P<rest>\$(?:1|\{1\})))"
)


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any] | None:
    """Return what the hook is told, None where Envoy does it by itself. Raises ``Unsupported``."""
    regex, replacement = settings.get("regex") or "", settings.get("replacement") or ""
    if not regex or not replacement:
        raise Unsupported(f"{'replacement' if regex else 'regex'}: Required value")
    groups_of(regex, "regex")
    source, target = FROM.fullmatch(regex), TO.fullmatch(replacement)
    if source is not None and target is not None and bool(source["rest"]) == bool(target["rest"]):
        return None
    substitution(replacement, 9, "replacement")
    return {"regex": regex, "replacement": replacement, "permanent": bool(settings.get("permanent"))}


def apply(settings: Object, draft: Draft, site: Site) -> None:
    source, target = FROM.fullmatch(settings.get("regex") or ""), TO.fullmatch(settings.get("replacement") or "")
    assert source is not None and target is not None
    if source[1] in ("http", "https") and (source[1] == "https") != site.secure:
        return
    away: dict[str, Any] = {"response_code": REDIRECT_CODES[308 if settings.get("permanent") else 307]}
    if target["rest"] and (target["scheme"] == "https") == site.secure:
        raise Unsupported("replacement: it leads to where the request came from")
    away["scheme_redirect"] = target["scheme"]
    if target["host"]:
        away["host_redirect"] = target["host"]
    if target["port"]:
        away["port_redirect"] = int(target["port"])
    if source["path"] or target["path"]:
        expression = source["path"] or "/.*"
        path = substitution(target["path"] or "/", groups_of(expression, "regex"), "replacement")
        away["regex_rewrite"] = {"pattern": {"regex": f"^{expression}$"}, "substitution": path}
    draft.redirect = away
