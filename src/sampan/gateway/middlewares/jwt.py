"""``jwt`` (ours alone): a JSON Web Token (RFC 7519) that one of some keys (JWKS, RFC 7517) has signed.

The keys are ``jwks`` (their text), ``jwksSecret`` (a Secret, under ``jwks.json``), or ``jwksService`` or ``jwksUri``, which
are asked again every five minutes. Without ``fromHeaders``, ``fromParams`` or ``fromCookies``, the token is a Bearer's or
``access_token``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.middlewares import claims, oauth_filter
from sampan.gateway.middlewares.errors import reference_to
from sampan.gateway.model.secrets import text_of
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.schema.objects import Object

TYPE = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
PER_ROUTE = "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig"
KEYS = ("jwks", "jwksSecret", "jwksService", "jwksUri")
COPIED = {
    "issuer": "issuer",
    "audiences": "audiences",
    "forward": "forward",
    "fromParams": "from_params",
    "fromCookies": "from_cookies",
    "forwardPayloadHeader": "forward_payload_header",
    "clockSkewSeconds": "clock_skew_seconds",
}
OPTIONS = (*KEYS, *COPIED, "fromHeaders", "claimToHeaders", "claims", "optional", "tls")
ORDER = 19
FETCHED_AGAIN = {"seconds": 300}
NAME = "token"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    provider = {ours: settings[name] for name, ours in COPIED.items() if settings.get(name)}
    if settings.get("fromHeaders"):
        headers = settings["fromHeaders"]
        provider["from_headers"] = [{"name": one["name"], "value_prefix": one.get("prefix", "")} for one in headers]
    if settings.get("claimToHeaders"):
        headers = settings["claimToHeaders"]
        provider["claim_to_headers"] = [{"header_name": one["header"], "claim_name": one["claim"]} for one in headers]
    provider |= keys_of(settings, draft, site)
    if settings.get("tls") and not settings.get("jwksUri"):
        raise Unsupported("tls: it is for jwksUri")
    if settings.get("claims"):
        provider["payload_in_metadata"] = claims.KEPT
        claims.require(draft, settings["claims"], ORDER + 1)
    requirement: dict[str, Any] = {"provider_name": NAME}
    if settings.get("optional"):
        requirement = {"requires_any": {"requirements": [requirement, {"allow_missing": {}}]}}
    config = {"@type": TYPE, "providers": {NAME: provider}, "requirement_map": {NAME: requirement}}
    name = f"jwt/{hashlib.sha256(repr(config).encode()).hexdigest()[:12]}"
    draft.need(HttpFilter.of(ORDER, name, config), {"@type": PER_ROUTE, "requirement_name": NAME})


def keys_of(settings: Object, draft: Draft, site: Site) -> dict[str, Any]:
    """Return where the keys are, as Envoy's provider has it. Raises ``Unsupported``, ``Unresolved``."""
    given = [name for name in KEYS if settings.get(name)]
    if len(given) != 1:
        raise Unsupported(f"jwks: one of {', '.join(KEYS)} is expected")
    if given == ["jwksService"]:
        service = settings["jwksService"]
        reference = reference_to(
            {name: value for name, value in service.items() if name != "path"}, site.namespace, site.world
        )
        cluster = site.cluster(reference)
        if cluster is None:
            raise Unresolved("BackendNotFound", "the TLS policy of the Service of keys is not well")
        path = service.get("path") or "/.well-known/jwks.json"
        uri = {"uri": f"http://{service['name']}{path}", "cluster": cluster.name, "timeout": {"seconds": 5}}
        return {"remote_jwks": {"http_uri": uri, "cache_duration": FETCHED_AGAIN}}
    if given == ["jwksUri"]:
        trust = oauth_filter.trust_of(settings, site.namespace)
        cluster_name = oauth_filter.called(settings["jwksUri"], trust, draft, site, "jwksUri")
        called = {"uri": settings["jwksUri"], "cluster": cluster_name, "timeout": {"seconds": 5}}
        return {"remote_jwks": {"http_uri": called, "cache_duration": FETCHED_AGAIN}}
    text = settings.get("jwks") or text_of(site.world, site.namespace, settings["jwksSecret"], ("jwks.json", "jwks"))
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Unsupported(f"{given[0]}: no JSON: {error}") from error
    if not isinstance(found, dict) or not found.get("keys"):
        raise Unsupported(f"{given[0]}: it has no keys")
    return {"local_jwks": {"inline_string": text}}
