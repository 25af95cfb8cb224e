"""``forwardAuth``: another server is asked first; what it does not answer with 2xx is the client's answer.

The address may name a Service, as it is named to a pod. The hook runs where no cluster DNS is asked: it is told the
Service's address, and again when that changes; ``Host`` and the name of TLS stay as they are written.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sampan.gateway.middlewares.secrets import text_of
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
)
TLS_OPTIONS = ("caSecret", "insecureSkipVerify")
HOOK = "forward_auth"
SERVICE_NAME = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:\.(?P<namespace>[a-z0-9-]+)(?P<svc>\.svc(?:\.cluster\.local\.?)?)?)?", re.IGNORECASE
)


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
    }


def connect_to(hostname: str, namespace: str, world: World) -> str:
    """Return the address of the Service that a name means in that namespace, as it would to a pod there; ``""`` where it
    means none, and the machine's own DNS is asked. Raises ``Unresolved`` for a name that can only be a Service's."""
    named = SERVICE_NAME.fullmatch(hostname)
    if named is None:
        return ""
    key = f"{named['namespace'] or namespace}/{named['name']}"
    service = world.get("Service", key)
    if service is None:
        if named["svc"]:
            raise Unresolved("InvalidMiddleware", f"Service {key} does not exist")
        return ""
    if service["spec"].get("type") == "ExternalName":
        return str(service["spec"].get("externalName") or "")
    address = str(service["spec"].get("clusterIP") or "")
    if address in ("", "None"):
        raise Unresolved("InvalidMiddleware", f"Service {key} has no address of its own (clusterIP)")
    return address


def tls_of(tls: Object | None, namespace: str, world: World) -> dict[str, Any] | None:
    if not tls:
        return None
    for name in tls:
        if name not in TLS_OPTIONS:
            raise Unsupported(f"tls.{name}: this option is not served")
    authority = text_of(world, namespace, tls["caSecret"], ("tls.ca", "ca.crt")) if tls.get("caSecret") else ""
    return {"ca": authority, "insecureSkipVerify": bool(tls.get("insecureSkipVerify"))}
