"""``forwardAuth``: another server is asked first; what it does not answer with 2xx is the client's answer.

The address may name a Service, as it is named to a pod. The hook runs where no cluster DNS is asked: it is told the
Service's address, and again when that changes; ``Host`` and the name of TLS stay as they are written.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sampan.gateway.hooks.forward_auth import MOST_BYTES
from sampan.gateway.model.certificates import pair_problem
from sampan.gateway.model.secrets import text_of
from sampan.gateway.model.urls import connect_to
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = (
    "address",
    "tls",
    "trustForwardHeader",
    "authResponseHeaders",
    "authResponseHeadersRegex",
    "authRequestHeaders",
    "headerField",
    "preserveLocationHeader",
    "preserveRequestMethod",
    "authSigninURL",
    "addAuthCookiesToResponse",
    "forwardBody",
    "maxBodySize",
    "maxResponseBodySize",
)
TLS_OPTIONS = ("caSecret", "certSecret", "insecureSkipVerify", "caOptional")
HOOK = "forward_auth"


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any]:
    """Return what the hook is told. Raises ``Unsupported``, ``Unresolved``."""
    address = urlsplit(settings.get("address") or "")
    if address.scheme not in ("http", "https") or not address.hostname:
        raise Unsupported("address: must be a URL of http or https")
    expression = settings.get("authResponseHeadersRegex") or ""
    try:
        re.compile(expression)
    except re.error as error:
        raise Unsupported(f"authResponseHeadersRegex: {error}") from error
    return {
        "address": settings["address"],
        "connectTo": connect_to(address.hostname, namespace, world),
        "tls": tls_of(settings.get("tls"), namespace, world),
        "authResponseHeaders": list(settings.get("authResponseHeaders") or ()),
        "authRequestHeaders": list(settings.get("authRequestHeaders") or ()),
        "authResponseHeadersRegex": expression,
        "trustForwardHeader": bool(settings.get("trustForwardHeader")),
        "preserveLocationHeader": bool(settings.get("preserveLocationHeader")),
        "preserveRequestMethod": bool(settings.get("preserveRequestMethod")),
        "headerField": settings.get("headerField") or "",
        "authSigninURL": settings.get("authSigninURL") or "",
        "addAuthCookiesToResponse": list(settings.get("addAuthCookiesToResponse") or ()),
        "forwardBody": bool(body_bytes(settings)),
        "maxResponseBodySize": size(settings, "maxResponseBodySize"),
    }


def body_bytes(settings: Object) -> int:
    """Return how much of a request's body the server is told; longer ones get 413. Raises ``Unsupported``."""
    if not settings.get("forwardBody"):
        if settings.get("maxBodySize") is not None:
            raise Unsupported("maxBodySize: it is for forwardBody")
        return 0
    return size(settings, "maxBodySize")


def size(settings: Object, name: str) -> int:
    found = settings.get(name, MOST_BYTES)
    if not isinstance(found, int) or not 0 < found <= MOST_BYTES:
        raise Unsupported(f"{name}: must be 1 to {MOST_BYTES}")
    return found


def tls_of(tls: Object | None, namespace: str, world: World) -> dict[str, Any] | None:
    if not tls:
        return None
    for name in tls:
        if name not in TLS_OPTIONS:
            raise Unsupported(f"tls.{name}: this option is not served")
    if tls.get("caOptional"):
        raise Unsupported(
            "tls.caOptional: it does nothing in Traefik 3 either; insecureSkipVerify takes any certificate"
        )
    authority = text_of(world, namespace, tls["caSecret"], ("tls.ca", "ca.crt")) if tls.get("caSecret") else ""
    own = pair_of(world, namespace, tls["certSecret"]) if tls.get("certSecret") else ("", "")
    return {"ca": authority, "pair": own, "insecureSkipVerify": bool(tls.get("insecureSkipVerify"))}


def pair_of(world: World, namespace: str, name: str) -> tuple[str, str]:
    """Return certificate and key of a Secret, as PEM. Raises ``Unresolved``."""
    chain, key = (text_of(world, namespace, name, (one,)) for one in ("tls.crt", "tls.key"))
    if problem := pair_problem(chain.encode(), key.encode()):
        raise Unresolved("InvalidMiddleware", f"Secret {namespace}/{name}: {problem}")
    return chain, key
