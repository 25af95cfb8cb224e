"""``redirectRegex``: a request whose URL fits an expression is sent to another.

Envoy matches paths, not URLs: only from one scheme to the other (``^http://(.*)`` to ``https://$1``) it sends by itself. What
looks at hosts, ports or paths is our hook's.
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
FROM = re.compile(r"\^(https?\??)://\(\.[*+]\)\$?")
TO = re.compile(r"(https?)://\$(?:1|\{1\})")


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any] | None:
    """Return what the hook is told, None where Envoy does it by itself. Raises ``Unsupported``."""
    regex, replacement = settings.get("regex") or "", settings.get("replacement") or ""
    if not regex or not replacement:
        raise Unsupported(f"{'replacement' if regex else 'regex'}: Required value")
    groups_of(regex, "regex")
    if FROM.fullmatch(regex) and TO.fullmatch(replacement):
        return None
    substitution(replacement, 9, "replacement")
    return {"regex": regex, "replacement": replacement, "permanent": bool(settings.get("permanent"))}


def apply(settings: Object, draft: Draft, site: Site) -> None:
    source, target = FROM.fullmatch(settings["regex"]), TO.fullmatch(settings["replacement"])
    assert source is not None and target is not None
    if source[1] in ("http", "https") and (source[1] == "https") != site.secure:
        return
    if (target[1] == "https") == site.secure:
        raise Unsupported("replacement: it leads to where the request came from")
    code = REDIRECT_CODES[308 if settings.get("permanent") else 307]
    draft.redirect = {"response_code": code, "scheme_redirect": target[1]}
