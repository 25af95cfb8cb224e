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
    "publicKey": "Public-Key-Pins",
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
    "stsSeconds",
    "stsIncludeSubdomains",
    "stsPreload",
    "forceSTSHeader",
    "allowedHosts",
    "isDevelopment",
)


def apply(settings: Object, draft: Draft, site: Site) -> None:
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
    if not settings.get("isDevelopment"):
        answer |= strict_transport(settings, site)
        if settings.get("allowedHosts"):
            hosts.only(settings["allowedHosts"], draft)
    modifiers.change({"set": [{"name": n, "value": v} for n, v in answer.items()]}, draft, "response")


def strict_transport(settings: Object, site: Site) -> dict[str, str]:
    """Return HSTS (RFC 6797), which is told over TLS only unless it is forced."""
    seconds = settings.get("stsSeconds") or 0
    if not seconds or not (site.secure or settings.get("forceSTSHeader")):
        return {}
    value = f"max-age={seconds}"
    value += "; includeSubDomains" if settings.get("stsIncludeSubdomains") else ""
    value += "; preload" if settings.get("stsPreload") else ""
    return {"Strict-Transport-Security": value}


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
