"""``apiKeyAuth`` (ours alone): who shows a key that a Secret has may pass. The Secret has client → key.

``keySources`` say where a key is looked for, in order: ``header`` (with or without ``Bearer``), ``query`` or ``cookie``.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.certificates import field, no_secret
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.schema.objects import Object

OPTIONS = ("secret", "keySources", "allowedClients", "clientHeader", "hideKey")
TYPE = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
FILTER = HttpFilter.of(19, "api-key", {"@type": TYPE})
PLACES = ("header", "query", "cookie")


def apply(settings: Object, draft: Draft, site: Site) -> None:
    sources = settings.get("keySources") or [{"header": "X-API-Key"}]
    for number, source in enumerate(sources):
        if len(source) != 1 or next(iter(source)) not in PLACES or not next(iter(source.values())):
            raise Unsupported(f"keySources[{number}]: one of {', '.join(PLACES)} is expected")
    if not settings.get("secret"):
        raise Unsupported("secret: Required value")
    key = f"{site.namespace}/{settings['secret']}"
    secret = site.world.get("Secret", key)
    if secret is None:
        raise Unresolved("InvalidMiddleware", no_secret(site.world.surroundings, key))
    keys = {client: field(secret, client).decode(errors="replace").strip() for client in secret.get("data") or {}}
    if not keys or not all(keys.values()) or len(set(keys.values())) < len(keys):
        raise Unresolved("InvalidMiddleware", f"Secret {key} has no keys, an empty one, or one twice")
    if FILTER.name in draft.route.get("typed_per_filter_config", {}):
        raise Unsupported("secret: a route has one list of keys")
    config: dict[str, Any] = {
        "@type": f"{TYPE}PerRoute",
        "credentials": [{"key": value, "client": client} for client, value in sorted(keys.items())],
        "key_sources": [dict(source) for source in sources],
        "allowed_clients": list(settings.get("allowedClients") or ()),
    }
    if settings.get("clientHeader") or settings.get("hideKey"):
        config["forwarding"] = {
            "header": settings.get("clientHeader") or "",
            "hide_credentials": bool(settings.get("hideKey")),
        }
    draft.need(FILTER, config)
