"""What routes lead to: the cluster of a backendRef, or why there is none.

Clusters are named by Service and port, not by route: a change of routes touches no connection. The protocol and the client
certificate are in the name where they are not the usual ones. Source: Gateway API v1, BackendObjectReference; KEP-3726
(appProtocol); GEP-4894 (XBackend).
"""

from __future__ import annotations

from sys import intern
from typing import NamedTuple

from sampan.gateway.kinds.resources import EXPERIMENTAL_GROUP
from sampan.gateway.model.certificates import certificate
from sampan.gateway.model.grants import granted
from sampan.gateway.model.policies import TlsPolicy, tls_policy, validation_of
from sampan.gateway.model.verdicts import Unresolved
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

LIMITS_CLUSTER = "sampan/limits"
"""Our own Rate Limit Service, beside this Envoy."""
REFUSING_CLUSTER = "sampan/refuses"
"""Answers 500: where the share of backends that do not exist goes."""


class ClusterRef(NamedTuple):
    """A cluster, by what it is made of."""

    kind: str
    """``Service`` or ``XBackend``."""
    key: str
    port: int
    protocol: str = ""
    """``h2`` where routes ask for HTTP/2 whatever the port says, ``udp`` for datagrams, else ``""``."""
    client_certificate: str = ""
    """SDS name of the certificate that is shown to it."""
    own_tries: bool = False
    """Whether it is for routes that say themselves what is sent again: what a cluster says of it would hold instead."""

    @property
    def name(self) -> str:
        parts = [self.key, str(self.port)]
        if self.kind != "Service":
            parts.insert(0, self.kind)
        if self.protocol:
            parts.append(self.protocol)
        if self.client_certificate:
            parts.append(f"as {self.client_certificate}")
        if self.own_tries:
            parts.append("own-tries")
        return intern("/".join(parts))


def backend_cluster(
    world: World, route: Object, reference: Object, *, protocol: str = "", client_certificate: str = ""
) -> ClusterRef | None:
    """Return the cluster of a backendRef; None when its TLS policy forbids every connection. Raises ``Unresolved``."""
    group, kind, name = reference.get("group", ""), reference.get("kind", "Service"), reference["name"]
    own = route["metadata"]["namespace"]
    namespace = reference.get("namespace") or own
    if (group, kind) not in (("", "Service"), ("core", "Service"), (EXPERIMENTAL_GROUP, "XBackend")):
        raise Unresolved("InvalidKind", f"backend {name} is of kind {kind}: only Service and XBackend are known")
    permitted = granted(world, route["kind"], own, kind, namespace, name, group.replace("core", ""))
    if not permitted and not (kind == "Service" and is_parent(route, namespace, name)):
        raise Unresolved("RefNotPermitted", f"no ReferenceGrant of {namespace} permits the {kind} {name}")
    key = intern(f"{namespace}/{name}")  # thousands of routes note that they have read it
    backend = world.get(kind, key)
    if backend is None:
        raise Unresolved("BackendNotFound", f"{kind} {key} does not exist")
    if kind == "XBackend":
        return external(world, key, backend, protocol)
    port = service_port(backend, reference.get("port"), "UDP" if protocol == "udp" else "TCP")
    if port is None:
        raise Unresolved("BackendNotFound", f"Service {key} has no port {reference.get('port')}")
    if backend["spec"].get("type") == "ExternalName":
        raise Unresolved("UnsupportedValue", f"Service {key} is an ExternalName, which no route may lead to")
    policy = tls_policy(world, intern(f"Service {key}"), port.get("name", ""))
    if policy is not None and not policy.serves:
        return None
    return ClusterRef(kind, key, int(port["port"]), protocol, client_certificate if policy is not None else "")


def is_parent(route: Object, namespace: str, name: str) -> bool:
    """Whether a Service is a parent of the route itself: its clients reach it anyway (GAMMA, consumer routes)."""
    own = route["metadata"]["namespace"]
    return any(
        reference.get("kind") == "Service"
        and (reference.get("namespace") or own, reference["name"]) == (namespace, name)
        for reference in route["spec"].get("parentRefs") or ()
    )


def external(world: World, key: str, backend: Object, protocol: str) -> ClusterRef | None:
    """Return the cluster of an XBackend. Raises ``Unresolved`` for a client certificate that is none."""
    tls, certificate_name = backend["spec"].get("tls") or {}, ""
    namespace = key.partition("/")[0]
    if tls.get("mode", "None") != "None":
        if not validation_of(world, "XBackend", namespace, tls.get("validation") or {"hostname": ""}).serves:
            return None
        if tls["mode"] == "ClientAndServer":
            reference = tls.get("clientCertificateRef") or {"name": ""}
            certificate_name = certificate(world, "XBackend", namespace, reference, "InvalidClientCertificateRef")
    return ClusterRef("XBackend", key, int(backend["spec"]["port"]["port"]), protocol, certificate_name)


def service_port(service: Object, number: int | None, transport: str = "TCP") -> Object | None:
    """Return the entry of a Service's port, None when it has none of that number."""
    for entry in service["spec"].get("ports") or ():
        if entry["port"] == number and entry.get("protocol", "TCP") == transport:
            return dict(entry)
    return None


def policy_of(world: World, cluster: ClusterRef) -> TlsPolicy | None:
    """Return the TLS policy for a Service's port."""
    service = world.get("Service", cluster.key)
    port = service_port(service, cluster.port) if service is not None else None
    return tls_policy(world, intern(f"Service {cluster.key}"), (port or {}).get("name", ""))
