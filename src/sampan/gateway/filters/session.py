"""Session persistence: requests of one session meet one endpoint, by a cookie or header that Envoy writes.

Source: GEP-1619; Envoy's ``stateful_session`` filter.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.durations import duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

STATEFUL = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession"
PER_ROUTE = "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute"
COOKIE = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState"
HEADER = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState"
FILTER = HttpFilter.of(90, "session", {"@type": STATEFUL})


def apply(settings: Object, draft: Draft, site: Site) -> None:
    if settings.get("idleTimeout"):
        raise Unsupported("sessionPersistence.idleTimeout: Envoy's sessions end at a fixed time, not after idleness")
    name = settings.get("sessionName")
    if not name:
        identity = f"{site.namespace}/{site.route['metadata']['name']}/{site.rule.get('name', '')}"
        name = f"sampan-session-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    if settings.get("type", "Cookie") == "Header":
        if settings.get("absoluteTimeout"):
            raise Unsupported("sessionPersistence.absoluteTimeout: the session of a header has no end")
        state: dict[str, Any] = {"@type": HEADER, "name": name}
    else:
        cookie: dict[str, Any] = {"name": name, "path": cookie_path(site.match)}
        permanent = (settings.get("cookieConfig") or {}).get("lifetimeType") == "Permanent"
        if permanent and not settings.get("absoluteTimeout"):
            raise Unsupported("sessionPersistence: a permanent cookie needs an absoluteTimeout")
        if settings.get("absoluteTimeout"):
            if not permanent:
                text = "sessionPersistence.absoluteTimeout: only cookies of lifetimeType Permanent end at a time"
                raise Unsupported(text)
            cookie["ttl"] = duration(settings["absoluteTimeout"])
        state = {"@type": COOKIE, "cookie": cookie}
    session = {"session_state": {"name": "state", "typed_config": state}}
    draft.need(FILTER, {"@type": PER_ROUTE, "stateful_session": session})


def cookie_path(match: Object) -> str:
    path = match.get("path") or {}
    if path.get("type", "PathPrefix") == "RegularExpression":
        return "/"
    return str(path.get("value") or "/")
