"""``redirectRegex``: a redirect by an expression over the whole URL.

Envoy redirects scheme, host and path apart. Served is an expression of the form ``^SCHEME://HOST/PATH`` with a host that is a
name, or ``(.*)`` over all of the rest, and a replacement of the same form; any other is refused.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.rewrite import REDIRECT_CODES
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares.expressions import groups_of, substitution
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("regex", "replacement", "permanent")
FROM = re.compile(r"\^?(https?\??)://(?:(?P<host>(?:[a-z0-9-]|\\?\.)+)(?::\d+)?(?P<path>/.*)?|(?P<rest>\(\.[*+]\)))\$?")
TO = re.compile(
    r"(?P<scheme>https?)://(?:(?P<host>[a-z0-9.-]+)(?::(?P<port>\d+))?(?P<path>/.*)?|(?P<rest>\$(?:1|\{1\})))"
)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    source, target = FROM.fullmatch(settings.get("regex") or ""), TO.fullmatch(settings.get("replacement") or "")
    if source is None or target is None or bool(source["rest"]) != bool(target["rest"]):
        raise Unsupported("regex: the form ^SCHEME://HOST/PATH with a plain host, or ^SCHEME://(.*), is served")
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
