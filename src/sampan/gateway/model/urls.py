"""Clusters of URLs: servers outside, or Services by the names that pods have for them, which a middleware calls itself."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World

KIND = "Url"
SERVICE_NAME = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:\.(?P<namespace>[a-z0-9-]+)(?P<svc>\.svc(?:\.cluster\.local\.?)?)?)?", re.IGNORECASE
)
PORTS = {"http": 80, "https": 443}


class Trust(NamedTuple):
    """By which authorities a server of ``https`` is known."""

    namespace: str
    secret: str = ""
    """Of the namespace, with the authorities under ``tls.ca`` or ``ca.crt``; ``""``: the machine's own."""
    insecure: bool = False


class Server(NamedTuple):
    scheme: str
    host: str
    port: int
    trust: Trust


def server_of(url: str, trust: Trust, at: str) -> Server:
    """Return who a URL leads to. Raises ``Unsupported``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise Unsupported(f"{at}: {error}") from error
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise Unsupported(f"{at}: {url!r} is no URL of http or https")
    return Server(parts.scheme, host, port, trust)


def url_cluster(server: Server) -> ClusterRef:
    """Return the cluster of a server."""
    trusted = "insecure" if server.trust.insecure else server.trust.secret or "system"
    return ClusterRef(KIND, f"{server.trust.namespace} {server.scheme}://{server.host} {trusted}", server.port)


def cluster_server(ref: ClusterRef) -> Server:
    """Return the server that a cluster of a URL is."""
    namespace, address, trusted = ref.key.split(" ")
    scheme, _, host = address.partition("://")
    insecure = trusted == "insecure"
    secret = "" if trusted in ("insecure", "system") else trusted
    return Server(scheme, host, ref.port, Trust(namespace, secret, insecure))


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
