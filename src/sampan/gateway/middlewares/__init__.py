"""Middlewares by Traefik's names and options: what stands in the ``spec`` of a Middleware, one file each.

A middleware is a module with ``OPTIONS`` (the names that it honours) and ``apply(settings, draft, site)``, which changes
the ``Draft`` of an Envoy route as every filter does (``filters/seam.py``). An option that is not in ``OPTIONS``, or whose
value cannot be honoured, is refused by its path: the rule is not served, and the route's status says why (``NOT_SERVED``:
what there is in the option's stead). ``MIDDLEWARES`` is the one list. Source: Traefik v3, pkg/config/dynamic/middlewares.go.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.issuers import Issuer
from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.gateway.middlewares import (
    add_prefix,
    api_key_auth,
    bandwidth_limit,
    basic_auth,
    buffering,
    cache,
    chain,
    circuit_breaker,
    compress,
    content_type,
    cors,
    csrf,
    digest_auth,
    encoded_characters,
    errors,
    fault,
    forward_auth,
    geoip,
    grpc_web,
    headers,
    hooked,
    in_flight_req,
    ip_allow_list,
    ip_white_list,
    jwt,
    oauth2,
    oidc,
    pass_tls_client_cert,
    plugin,
    rate_limit,
    redirect_regex,
    redirect_scheme,
    replace_path,
    replace_path_regex,
    retry,
    strip_prefix,
    strip_prefix_regex,
)
from sampan.gateway.model.verdicts import MALFORMED, Unresolved, Unsupported, malformed
from sampan.gateway.model.world import World
from sampan.gateway.xds.encode import EncodingError
from sampan.schema.objects import Object

MIDDLEWARES: dict[str, ModuleType] = {
    "addPrefix": add_prefix,
    "basicAuth": basic_auth,
    "buffering": buffering,
    "chain": chain,
    "circuitBreaker": circuit_breaker,
    "compress": compress,
    "contentType": content_type,
    "digestAuth": digest_auth,
    "encodedCharacters": encoded_characters,
    "errors": errors,
    "forwardAuth": forward_auth,
    "grpcWeb": grpc_web,
    "headers": headers,
    "inFlightReq": in_flight_req,
    "ipAllowList": ip_allow_list,
    "ipWhiteList": ip_white_list,
    "passTLSClientCert": pass_tls_client_cert,
    "plugin": plugin,
    "rateLimit": rate_limit,
    "redirectRegex": redirect_regex,
    "redirectScheme": redirect_scheme,
    "replacePath": replace_path,
    "replacePathRegex": replace_path_regex,
    "retry": retry,
    "stripPrefix": strip_prefix,
    "stripPrefixRegex": strip_prefix_regex,
}

OWN: dict[str, ModuleType] = {
    "apiKeyAuth": api_key_auth,
    "bandwidthLimit": bandwidth_limit,
    "cache": cache,
    "cors": cors,
    "csrf": csrf,
    "fault": fault,
    "geoip": geoip,
    "jwt": jwt,
    "oauth2": oauth2,
    "oidc": oidc,
}
"""Those that Traefik does not have, or sells: in a Middleware of our own group alone."""


def issuer_of(spec: Object, namespace: str, world: World) -> Issuer | None:
    """Return the OpenID issuer that a Middleware has asked, None where it has none (or is not well: its routes tell that)."""
    try:
        return oidc.issuer_of(spec["oidc"] or {}, namespace, world) if set(spec) == {"oidc"} else None
    except (Unsupported, Unresolved, *MALFORMED):
        return None


def databases_of(spec: Object) -> set[str]:
    """Return the paths of the databases that a Middleware names."""
    try:
        return geoip.paths_of(spec["geoip"] or {}) if set(spec) == {"geoip"} else set()
    except MALFORMED:
        return set()


def apply(spec: Object, draft: Draft, site: Site, deep: int = 0) -> None:
    """Apply the one middleware of a spec. Raises ``Unsupported`` (with what is not honoured), ``Unresolved``."""
    names = [name for name in spec if name not in ("key", "kind")]
    if len(names) != 1:
        raise Unsupported(f"spec: one middleware is expected, not {', '.join(sorted(names)) or 'none'}")
    name = names[0]
    module = MIDDLEWARES.get(name)
    if module is None and name in OWN:
        if spec["kind"] != "Middleware":
            raise Unsupported(f"spec.{name}: only a Middleware of {OWN_GROUP} has this")
        module = OWN[name]
    if module is None:
        raise Unsupported(f"spec.{name}: this middleware is not served")
    settings = spec[name] or {}
    if not isinstance(settings, dict):
        raise Unsupported(f"spec.{name}: an object is expected")
    unknown = sorted(set(settings) - set(module.OPTIONS)) if module.OPTIONS is not None else []
    if unknown:
        hint = getattr(module, "NOT_SERVED", {}).get(unknown[0])
        raise Unsupported(f"spec.{name}.{unknown[0]}: this option is not served{f': {hint}' if hint else ''}")
    if spec["kind"] != "Middleware":
        for option in getattr(module, "OWN_OPTIONS", ()):
            if option in settings:
                raise Unsupported(f"spec.{name}.{option}: only a Middleware of {OWN_GROUP} has this")
    site = replace(site, middleware=f"{spec['kind']} {spec['key']}")
    try:
        if module is chain:
            for member in chain.members(settings, spec["kind"], site, deep):
                apply(member, draft, site, deep + 1)
        elif name not in hooked.HOOKED or not hooked.apply(module, settings, spec, draft, site.world):
            module.apply(settings, draft, site)
    except Unsupported as error:
        raise Unsupported(f"spec.{name}.{error}") from error
    except (*MALFORMED, EncodingError) as error:
        raise Unsupported(f"spec.{name}: {malformed(error)}") from error
