"""From a Service to an address the API itself can dial: webhooks and extension API servers are behind Services.

An endpoint is chosen from the Service's EndpointSlices, as kube-apiserver does with ``--enable-aggregator-routing``: no
proxy rule is needed on the way, and a pod that went is never dialled again.
Source: kubernetes/apiserver pkg/util/proxy (ResolveEndpoint).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

SERVICES = prefix_of("services")
SLICES = prefix_of("endpointslices.discovery.k8s.io")
OF_SERVICE = "kubernetes.io/service-name"


class NoRoute(Exception):
    """Why a Service cannot be reached, in Kubernetes' words. ``missing``: it does not exist."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def resolve(api: Api, namespace: str, name: str, port: int) -> Address:
    """Return where a port of a Service is served. Raises ``NoRoute``."""
    record = api.store.get(f"{SERVICES}{namespace}/{name}")
    if record is None:
        raise NoRoute(f'service "{name}" not found', missing=True)
    service = api.parsed(record)
    if dig(service, "spec", "type") == "ExternalName":
        return Address(text(service, "spec", "externalName"), port)
    named = port_name(service, port)
    page = await api.store.page(f"{SLICES}{namespace}/")
    slices = [api.parsed(found) for found in page.records]
    addresses = [
        address
        for found in slices
        if mapping(found, "metadata", "labels").get(OF_SERVICE) == name
        for address in ready_addresses(found, named)
    ]
    if not addresses:
        raise NoRoute(f'no endpoints available for service "{name}"')
    return random.choice(addresses)


def port_name(service: Object, port: int) -> str:
    """Return the name of a Service's port. Raises ``NoRoute``."""
    for entry in items(service, "spec", "ports"):
        if entry.get("port") == port:
            return entry.get("name") or ""
    raise NoRoute(f'no service port {port} found for service "{service["metadata"]["name"]}"')


def ready_addresses(endpoint_slice: Object, name: str) -> Iterator[Address]:
    """Yield the ready endpoints of a slice, for the port of that name."""
    port = next((p.get("port") for p in items(endpoint_slice, "ports") if (p.get("name") or "") == name), None)
    if port is None:
        return
    for endpoint in items(endpoint_slice, "endpoints"):
        if mapping(endpoint, "conditions").get("ready", True):
            yield from (Address(address, port) for address in items(endpoint, "addresses"))
