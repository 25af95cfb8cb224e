"""``headers``: headers of requests and answers, CORS, and the headers of security.

Source: Traefik v3, http/headers; the library ``secure`` it is made of. An empty value removes a header.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters import cors
from sampan.gateway.filters import headers as modifiers
from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import hosts
from sampan.gateway.middlewares.expressions import groups_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

TEXTS = {
    "customFrameOptionsValue": "X-Frame-Options",
    "customBrowserXSSValue": "X-XSS-Protection",
    "contentSecurityPolicy": "Content-Security-Policy",
    "contentSecurityPolicyReportOnly": "Content-Security-Policy-Report-Only",
    "referrerPolicy": "Referrer-Policy",
    "permissionsPolicy": "Permissions-Policy",
    "featurePolicy": "Feature-Policy",
}
FLAGS = {
    "frameDeny": ("X-Frame-Options", "DENY", "customFrameOptionsValue"),
    "contentTypeNosniff": ("X-Content-Type-Options", "nosniff", ""),
    "browserXssFilter": ("X-XSS-Protection", "1; mode=block", "customBrowserXSSValue"),
}
CORS = {
    "accessControlAllowMethods": "allowMethods",
    "accessControlAllowHeaders": "allowHeaders",
    "accessControlExposeHeaders": "exposeHeaders",
}
NOTHING = ("sslRedirect", "sslTemporaryRedirect", "sslHost", "sslForceHost")
"""Traefik 3 still knows them, and does nothing with them."""
OPTIONS = (
    "customRequestHeaders",
    "customResponseHeaders",
    "accessControlAllowOriginList",
    "accessControlAllowOriginListRegex",
    "accessControlAllowCredentials",
    "accessControlMaxAge",
    "addVaryHeader",
    *CORS,
    *TEXTS,
    *FLAGS,
    "publicKey",
    "stsSeconds",
    "stsIncludeSubdomains",
    "stsPreload",
    "forceSTSHeader",
    "sslProxyHeaders",
    "allowedHosts",
    "hostsProxyHeaders",
    "isDevelopment",
    *NOTHING,
)


def apply(settings: Object, draft: Draft, site: Site) -> None:
    for name in NOTHING:
        if settings.get(name):
            raise Unsupported(f"{name}: Traefik 3 does nothing with it: redirectScheme and redirectRegex are for that")
    for which, name in (("request", "customRequestHeaders"), ("response", "customResponseHeaders")):
        values = settings.get(name) or {}
        change = {
            "set": [{"name": n, "value": v} for n, v in values.items() if v],
            "remove": [n for n, v in values.items() if not v],
        }
        try:
            modifiers.change(change, draft, which)
        except Unsupported as error:
            raise Unsupported(f"{name}: {error}") from error
    cross_origin(settings, draft, site)
    answer: dict[str, str] = {}
    for name, (header, value, custom) in FLAGS.items():
        if settings.get(name) and not settings.get(custom):
            answer[header] = value
    answer |= {header: settings[name] for name, header in TEXTS.items() if settings.get(name)}
    over_tls: dict[str, str] = {}
    forwarded = settings.get("hostsProxyHeaders") or []
    if forwarded and not settings.get("allowedHosts"):
        raise Unsupported("hostsProxyHeaders: without allowedHosts any host is good")
    if not settings.get("isDevelopment"):
        if settings.get("publicKey"):
            over_tls["Public-Key-Pins"] = settings["publicKey"]
        if settings.get("stsSeconds"):
            (answer if settings.get("forceSTSHeader") else over_tls)["Strict-Transport-Security"] = strict_transport(
                settings
            )
        if settings.get("allowedHosts"):
            hosts.only(settings["allowedHosts"], forwarded, draft)
    if site.secure:
        answer |= over_tls
    modifiers.change({"set": [{"name": n, "value": v} for n, v in answer.items()]}, draft, "response")
    if proxies := settings.get("sslProxyHeaders"):
        if not over_tls and not settings.get("isDevelopment"):
            raise Unsupported(
                "sslProxyHeaders: nothing is told over TLS alone: neither stsSeconds nor publicKey is said"
            )
        if not site.secure:
            behind_proxies(proxies, over_tls, draft)


def behind_proxies(proxies: Object, answer: dict[str, str], draft: Draft) -> None:
    """Let an answer have headers if its request has one of those by which a proxy tells that it came by TLS."""
    for name, value in proxies.items():
        modifiers.check(name, value)
    came = " || ".join(f"request.headers[{quoted(name.lower())}] == {quoted(value)}" for name, value in proxies.items())
    for name, value in answer.items():
        modifiers.check(name, value)
        option = {"header": {"key": name, "value": f"%CEL(({came}) ? {quoted(value)} : '')%"}}
        draft.route.setdefault("response_headers_to_add", []).append({**option, "append_action": modifiers.OVERWRITE})


def quoted(text: str) -> str:
    """Return a text as a literal of CEL, all but letters and digits escaped: what it stands in has rules of its own."""
    return "'" + "".join(c if c.isascii() and c.isalnum() else f"\\u{ord(c):04x}" for c in text) + "'"


def strict_transport(settings: Object) -> str:
    """Return the value of HSTS (RFC 6797), which is told over TLS only unless it is forced."""
    value = f"max-age={settings['stsSeconds']}"
    value += "; includeSubDomains" if settings.get("stsIncludeSubdomains") else ""
    return value + ("; preload" if settings.get("stsPreload") else "")


def cross_origin(settings: Object, draft: Draft, site: Site) -> None:
    origins = settings.get("accessControlAllowOriginList") or []
    expressions = settings.get("accessControlAllowOriginListRegex") or []
    asked = [name for name in settings if name.startswith("accessControl")]
    if not origins and not expressions:
        if asked:
            raise Unsupported(f"{asked[0]}: without accessControlAllowOriginList nobody is allowed anything")
        return
    policy: dict[str, Any] = {"allowOrigins": origins, "maxAge": settings.get("accessControlMaxAge") or 5}
    policy |= {ours: settings[name] for name, ours in CORS.items() if settings.get(name)}
    policy["allowCredentials"] = bool(settings.get("accessControlAllowCredentials"))
    cors.apply(policy, draft, site)
    if expressions:
        for expression in expressions:
            groups_of(expression, "accessControlAllowOriginListRegex")
        matchers = draft.route["typed_per_filter_config"][cors.FILTER.name]["allow_origin_string_match"]
        matchers += [{"safe_regex": {"regex": f".*(?:{expression}).*"}} for expression in expressions]
    if settings.get("addVaryHeader"):
        modifiers.change({"add": [{"name": "Vary", "value": "Origin"}]}, draft, "response")
