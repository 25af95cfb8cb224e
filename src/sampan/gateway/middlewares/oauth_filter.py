"""Envoy's ``oauth2`` filter, as ``oidc`` and ``oauth2`` use it: the authorization code flow (RFC 6749, 4.1) with PKCE
(RFC 7636).

Who has no session is sent to the provider, and comes back to ``redirectUrl`` with a code, for which Envoy gets the tokens.
They are kept in cookies of the client (encrypted, and signed together), so every replica knows every session. Client
secret and the key of the cookies come by SDS.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.model.certificates import GENERIC, generic, no_secret
from sampan.gateway.model.urls import Trust, connect_to, server_of, url_cluster
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.xds.tls import by_name
from sampan.schema.objects import Object

TYPE = "envoy.extensions.filters.http.oauth2.v3.OAuth2"
ORDER = 17
AFTER_CHECKS = 35
OPTIONS = (
    "clientID",
    "secret",
    "clientAuthentication",
    "redirectUrl",
    "logoutUrl",
    "scopes",
    "resources",
    "authParams",
    "session",
    "forwardAccessToken",
    "denyRedirect",
    "tls",
)
SESSION_OPTIONS = ("name", "domain", "path", "sameSite", "refresh", "expiry")
TLS_OPTIONS = ("caSecret", "insecureSkipVerify")
AUTHENTICATIONS = {"Post": 0, "Basic": 1}
SAME_SITE = {"": 0, "Strict": 1, "Lax": 2, "None": 3}
CLIENT_SECRET, HMAC_SECRET = "client-secret", "hmac-secret"
COOKIES = {
    "bearer_token": "access",
    "oauth_hmac": "mac",
    "oauth_expires": "expires",
    "id_token": "id",
    "refresh_token": "refresh",
    "oauth_nonce": "nonce",
    "code_verifier": "verifier",
}
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
TIMEOUT = {"seconds": 10}
CALLBACK, LOGOUT = "/oauth2/callback", "/oauth2/logout"


@dataclass(frozen=True)
class Provider:
    """Where a provider is asked."""

    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str = ""
    trust: Trust = field(default_factory=lambda: Trust(""))


def trust_of(settings: Object, namespace: str) -> Trust:
    """Return by whom the provider is known. Raises ``Unsupported``."""
    tls = settings.get("tls") or {}
    for name in tls:
        if name not in TLS_OPTIONS:
            raise Unsupported(f"tls.{name}: this option is not served")
    secret = tls.get("caSecret") or ""
    if not isinstance(secret, str) or (secret and not OBJECT_NAME.fullmatch(secret)):
        raise Unsupported(f"tls.caSecret: {secret!r} is no name of a Secret")
    return Trust(namespace, secret, bool(tls.get("insecureSkipVerify")))


def apply(settings: Object, draft: Draft, site: Site, provider: Provider, scopes: list[str]) -> str:
    """Let a route be for those alone who have a session with a provider; return the name of the cookie that has the ID token
    when the request goes on. Raises ``Unsupported``, ``Unresolved``."""
    if not settings.get("clientID"):
        raise Unsupported("clientID: Required value")
    name = cookie_name(settings, site)
    callback = redirect_path(settings, site)
    config: dict[str, Any] = {
        "token_endpoint": {
            "uri": provider.token_endpoint,
            "cluster": called(provider.token_endpoint, provider.trust, draft, site),
            "timeout": TIMEOUT,
        },
        "authorization_endpoint": with_parameters(provider.authorization_endpoint, settings.get("authParams") or {}),
        "credentials": credentials(settings, draft, site, name),
        "redirect_uri": redirect_uri(settings, callback),
        "redirect_path_matcher": exact(callback),
        "signout_path": exact(logout_path(settings, site)),
        "auth_scopes": scopes,
        "resources": list(settings.get("resources") or ()),
        "auth_type": authentication(settings),
        "forward_bearer_token": bool(settings.get("forwardAccessToken")),
        "deny_redirect_matcher": [denied(one, n) for n, one in enumerate(settings.get("denyRedirect") or ())],
        "stat_prefix": "login",
        **session(settings.get("session") or {}),
    }
    if not settings.get("forwardAccessToken"):
        config["preserve_authorization_header"] = True
    if provider.end_session_endpoint:
        config["end_session_endpoint"] = provider.end_session_endpoint
    identity = hashlib.sha256(repr(config).encode()).hexdigest()[:12]
    draft.need(HttpFilter.of(ORDER, f"login/{identity}", {"@type": TYPE, "config": config}), AWAKE)
    return f"{name}-{COOKIES['id_token']}"


def called(url: str, trust: Trust, draft: Draft, site: Site, at: str = "issuer") -> str:
    """Return the cluster of a URL that Envoy calls, and note that it is used. Raises ``Unresolved``."""
    server = server_of(url, trust, at)
    connect_to(server.host, trust.namespace, site.world)
    cluster = url_cluster(server)
    site.clusters.add(cluster)
    return cluster.name


def credentials(settings: Object, draft: Draft, site: Site, name: str) -> dict[str, Any]:
    if not settings.get("secret"):
        raise Unsupported("secret: Required value")
    key = f"{site.namespace}/{settings['secret']}"
    if site.world.get("Secret", key) is None:
        raise Unresolved("InvalidMiddleware", no_secret(site.world.surroundings, key))
    if not generic(site.world, key, CLIENT_SECRET):
        raise Unresolved("InvalidMiddleware", f"Secret {key} has nothing under {CLIENT_SECRET}")
    token_secret = f"{GENERIC}{key} {CLIENT_SECRET}"
    hmac_secret = f"{GENERIC}{key} {HMAC_SECRET} {CLIENT_SECRET}"
    draft.secrets |= {token_secret, hmac_secret}
    domain = (settings.get("session") or {}).get("domain") or ""
    return {
        "client_id": settings["clientID"],
        "token_secret": by_name(token_secret),
        "hmac_secret": by_name(hmac_secret),
        "cookie_names": {field_name: f"{name}-{suffix}" for field_name, suffix in COOKIES.items()},
        **({"cookie_domain": domain} if domain else {}),
    }


def session(settings: Object) -> dict[str, Any]:
    """Return what a session is kept by. Raises ``Unsupported``."""
    for option in settings:
        if option not in SESSION_OPTIONS:
            raise Unsupported(f"session.{option}: this option is not served")
    same_site = settings.get("sameSite") or ""
    if same_site not in SAME_SITE:
        raise Unsupported(f"session.sameSite: {same_site!r} is none of Strict, Lax, None")
    path = settings.get("path") or "/"
    if not path.startswith("/"):
        raise Unsupported("session.path: must begin with a slash")
    expiry = settings.get("expiry") or 0
    if not isinstance(expiry, int) or expiry < 0:
        raise Unsupported("session.expiry: must be a number of seconds")
    cookie = {"same_site": SAME_SITE[same_site], "path": path}
    found: dict[str, Any] = {
        "use_refresh_token": {"value": settings.get("refresh", True) is not False},
        "cookie_configs": {f"{name}_cookie_config": cookie for name in COOKIES},
    }
    if expiry:
        found["default_expires_in"] = found["default_refresh_token_expires_in"] = {"seconds": expiry}
    return found


def cookie_name(settings: Object, site: Site) -> str:
    given = (settings.get("session") or {}).get("name")
    if given is not None:
        if not given or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in given):
            raise Unsupported(f"session.name: {given!r} is no name of a cookie")
        return str(given)
    return f"sampan-{hashlib.sha256(site.middleware.encode()).hexdigest()[:8]}"


def redirect_path(settings: Object, site: Site) -> str:
    """Return the path at which the provider sends people back: one that the route serves, too. Raises ``Unsupported``."""
    url = settings.get("redirectUrl") or below(site, CALLBACK)
    path = urlsplit(url).path
    if not path.startswith("/") or urlsplit(url).query or urlsplit(url).fragment:
        raise Unsupported("redirectUrl: a path is expected, or a URL with one")
    return str(path)


def redirect_uri(settings: Object, path: str) -> str:
    url = urlsplit(settings.get("redirectUrl") or "")
    if not url.scheme:
        return f"%REQ(x-forwarded-proto)%://%REQ(:authority)%{path}"
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unsupported("redirectUrl: must be a path, or a URL of http or https")
    return urlunsplit(url).replace("%", "%%")


def logout_path(settings: Object, site: Site) -> str:
    path = settings.get("logoutUrl") or below(site, LOGOUT)
    if not path.startswith("/") or "?" in path:
        raise Unsupported("logoutUrl: must be a path")
    return str(path)


def below(site: Site, path: str) -> str:
    """Return a path below the one that the route matches."""
    match = site.match.get("path") or {}
    prefix = (match.get("value") or "/").rstrip("/") if match.get("type", "PathPrefix") == "PathPrefix" else ""
    return prefix + path


def with_parameters(url: str, parameters: Object) -> str:
    """Return the authorization endpoint with more of a query."""
    parts = urlsplit(url)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        *((name, str(value)) for name, value in parameters.items()),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


def authentication(settings: Object) -> int:
    how = settings.get("clientAuthentication") or "Post"
    if how not in AUTHENTICATIONS:
        raise Unsupported(f"clientAuthentication: {how!r} is none of {', '.join(AUTHENTICATIONS)}")
    return AUTHENTICATIONS[how]


def denied(one: Object, number: int) -> dict[str, Any]:
    """Return who gets 401 in the place of a redirect: requests with a header (of that value)."""
    if not one.get("header") or set(one) - {"header", "value"}:
        raise Unsupported(f"denyRedirect[{number}]: header is expected, and value where it matters")
    name = {"name": one["header"].lower()}
    return name | ({"string_match": {"exact": one["value"]}} if one.get("value") else {"present_match": True})


def exact(path: str) -> dict[str, Any]:
    return {"path": {"exact": path}}


def keep_to_ourselves(draft: Draft, id_cookie: str, id_header: str = "") -> None:
    """Take the session's cookies out of what the backend gets; ``id_header`` tells it the ID token."""
    context = {"prefix": id_cookie.removesuffix(COOKIES["id_token"]), "id": id_cookie}
    if id_header:
        context["header"] = id_header.lower()
    scripts.run(draft, AFTER_CHECKS, "session", context)
