"""``oidc`` (ours alone): OpenID Connect. Who has no session logs in at the issuer; the backend is told who it is by claims.

Where the issuer is asked, is found by discovery (``issuers.py``). The session is kept by ``oauth_filter.py``; the ID token
of every request is checked by Envoy's ``jwt_authn``: by whom, for whom, until when. Source: OpenID Connect Core 1.0,
Discovery 1.0, RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.issuers import Issuer
from sampan.gateway.middlewares import claims, jwt, oauth_filter
from sampan.gateway.model.secrets import text_of
from sampan.gateway.model.urls import connect_to, server_of
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = (
    "issuer",
    "audiences",
    "forwardHeaders",
    "forwardIDToken",
    "claims",
    "clockSkewSeconds",
    *oauth_filter.OPTIONS,
)
OPENID = "openid"
NAME = "login"


def issuer_of(settings: Object, namespace: str, world: World) -> Issuer:
    """Return whom discovery asks. Raises ``Unsupported``, ``Unresolved``."""
    trust = oauth_filter.trust_of(settings, namespace)
    server = server_of(settings.get("issuer") or "", trust, "issuer")
    authorities = text_of(world, namespace, trust.secret, ("tls.ca", "ca.crt")) if trust.secret else ""
    return Issuer(settings["issuer"], connect_to(server.host, namespace, world), authorities, trust.insecure)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    issuer = issuer_of(settings, site.namespace, site.world)
    known = site.world.get("Discovery", issuer)
    problem = site.world.get("DiscoveryProblem", issuer)
    if known is None:
        raise Unresolved("InvalidMiddleware", f"issuer {issuer.url}: {problem or 'it has not answered yet'}")
    trust = oauth_filter.trust_of(settings, site.namespace)
    provider = oauth_filter.Provider(
        known["authorization_endpoint"], known["token_endpoint"], known.get("end_session_endpoint") or "", trust
    )
    scopes = list(dict.fromkeys([OPENID, *(settings.get("scopes") or ())]))
    cookie = oauth_filter.apply(settings, draft, site, provider, scopes)
    uri = {
        "uri": known["jwks_uri"],
        "cluster": oauth_filter.called(known["jwks_uri"], trust, draft, site),
        "timeout": oauth_filter.TIMEOUT,
    }
    checked: dict[str, Any] = {
        "issuer": known["issuer"],
        "audiences": list(settings.get("audiences") or [settings["clientID"]]),
        "from_cookies": [cookie],
        "remote_jwks": {"http_uri": uri, "cache_duration": jwt.FETCHED_AGAIN},
        "claim_to_headers": forwarded(settings.get("forwardHeaders") or {}),
    }
    if settings.get("claims"):
        checked["payload_in_metadata"] = claims.KEPT
        claims.require(draft, settings["claims"], oauth_filter.ORDER + 2)
    if settings.get("clockSkewSeconds"):
        checked["clock_skew_seconds"] = settings["clockSkewSeconds"]
    config = {
        "@type": jwt.TYPE,
        "providers": {NAME: checked},
        "requirement_map": {NAME: {"provider_name": NAME}},
    }
    name = f"login/token/{hashlib.sha256(repr(config).encode()).hexdigest()[:12]}"
    draft.need(HttpFilter.of(oauth_filter.ORDER + 1, name, config), {"@type": jwt.PER_ROUTE, "requirement_name": NAME})
    oauth_filter.keep_to_ourselves(draft, cookie, str(settings.get("forwardIDToken") or ""))


def forwarded(headers: Object) -> list[dict[str, str]]:
    """Return which headers tell the backend which claims: Traefik Hub's ``forwardHeaders``."""
    for header, claim in headers.items():
        if not isinstance(claim, str) or not claim:
            raise Unsupported(f"forwardHeaders.{header}: the name of a claim is expected")
    return [{"header_name": header, "claim_name": claim} for header, claim in headers.items()]
