"""The Gateway that all Ingresses and IngressRoutes of a class share: one address, whatever their namespaces.

Plain HTTP has one listener a port, its routes have the host names; each host with TLS has one. A host of two namespaces has
the certificates of both, the older first. The Gateway stands in ``kube-system``, which every cluster has, and its Service
belongs to the IngressClass: the address stays when the last Ingress goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sampan.gateway.kinds.resources import CLASS, GROUP
from sampan.schema.objects import Object

NAMESPACE = "kube-system"
SEPARATOR = "_"


class Wish(NamedTuple):
    """A listener that something wants."""

    port: int
    protocol: str
    hostname: str
    mode: str
    secrets: tuple[tuple[str, str], ...]
    """Namespace and name, of its certificates."""

    @property
    def section(self) -> str:
        return f"{self.protocol.lower()}-{self.port}" + (f"-{self.hostname}" if self.hostname else "")


def gateway_name(ingress_class: str) -> str:
    return f"ingress{SEPARATOR}{ingress_class}"


def gateway_key(ingress_class: str) -> str:
    return f"{NAMESPACE}/{gateway_name(ingress_class)}"


def shared_gateway(ingress_class: Object, wishes: Iterable[Wish], gateway_class: str = CLASS) -> Object:
    """Return the Gateway with the listeners that are wished, the first wish first."""
    listeners: dict[str, Object] = {}
    for wish in wishes:
        entry: dict[str, Any] = {
            "name": wish.section,
            "port": wish.port,
            "protocol": wish.protocol,
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
        if wish.hostname:
            entry["hostname"] = wish.hostname
        if wish.mode:
            entry["tls"] = {"mode": wish.mode}
        entry = listeners.setdefault(wish.section, entry)
        for namespace, name in wish.secrets:
            references = entry["tls"].setdefault("certificateRefs", [])
            if {"namespace": namespace, "name": name} not in references:
                references.append({"namespace": namespace, "name": name})
    metadata = ingress_class["metadata"]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {
            "name": gateway_name(metadata["name"]),
            "namespace": NAMESPACE,
            "uid": metadata.get("uid", ""),
            "ownerReferences": [
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "IngressClass",
                    "name": metadata["name"],
                    "uid": metadata.get("uid", ""),
                    "controller": True,
                }
            ],
        },
        "spec": {"gatewayClassName": gateway_class, "listeners": list(listeners.values())},
    }


def grant(namespace: str, names: Iterable[str]) -> Object:
    """Return the permission for the shared Gateways to show certificates of a namespace: those that its Ingresses name."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": f"ingress{SEPARATOR}certificates", "namespace": namespace},
        "spec": {
            "from": [{"group": GROUP, "kind": "Gateway", "namespace": NAMESPACE}],
            "to": [{"group": "", "kind": "Secret", "name": name} for name in sorted(set(names))],
        },
    }
