"""``oauth2`` (ours alone): who has no access token of a provider gets one there first. Who it is, is not known: that is
``oidc``."""

from __future__ import annotations

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import oauth_filter
from sampan.gateway.model.urls import server_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

ENDPOINTS = ("authorizationEndpoint", "tokenEndpoint")
OPTIONS = (*ENDPOINTS, *oauth_filter.OPTIONS)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    trust = oauth_filter.trust_of(settings, site.namespace)
    for name in ENDPOINTS:
        if not settings.get(name):
            raise Unsupported(f"{name}: Required value")
        server_of(settings[name], trust, name)
    provider = oauth_filter.Provider(settings["authorizationEndpoint"], settings["tokenEndpoint"], trust=trust)
    scopes = list(settings.get("scopes") or ())
    if not scopes:
        raise Unsupported("scopes: Required value")
    cookie = oauth_filter.apply(settings, draft, site, provider, scopes)
    oauth_filter.keep_to_ourselves(draft, cookie)
