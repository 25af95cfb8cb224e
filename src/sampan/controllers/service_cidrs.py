"""ServiceCIDRs and IPAddresses: the ranges of ClusterIPs as objects, and one object for each address that is given out.

The API gives out the addresses itself; here the default range is kept as the ServiceCIDR ``kubernetes``, ranges say whether
they are ready, one that is deleted stays until no Service needs it, and IPAddresses follow the Services. Source: KEP-1880,
pkg/controller/servicecidrs, pkg/registry/core/service/ipallocator (repair).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.objects import Object

SERVICE_CIDRS = ResourceType("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)
IP_ADDRESSES = ResourceType("networking.k8s.io", "v1", "ipaddresses", "IPAddress", namespaced=False)
DEFAULT = "kubernetes"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
FAMILY_LABEL, MANAGED_LABEL = "ipaddress.kubernetes.io/ip-family", "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
READY = {"type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready"}
IN_USE = {
    "type": "Ready",
    "status": "False",
    "reason": "Terminating",
    "message": "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
}


def cluster_ips(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    given = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return [ip for ip in given if ip and ip != "None"]


def needs(service_cidr: Object, others: Iterable[Object], addresses: Iterable[str]) -> bool:
    """Whether a range has addresses in use that no other range has."""
    own = [ipaddress.ip_network(one) for one in service_cidr["spec"]["cidrs"]]
    covered = [
        ipaddress.ip_network(one)
        for other in others
        if "deletionTimestamp" not in other["metadata"]
        for one in other["spec"]["cidrs"]
    ]
    for text in addresses:
        address = ipaddress.ip_address(text)
        if any(address in one for one in own) and not any(address in one for one in covered):
            return True
    return False


def canonical(address: str) -> str:
    """Return the name of an address' object."""
    return str(ipaddress.ip_address(address))


def object_of(address: str, service: Object) -> Object:
    parent = {"group": "", "resource": "services", "namespace": service["metadata"]["namespace"]}
    family = f"IPv{ipaddress.ip_address(address).version}"
    metadata = {"name": canonical(address), "labels": {FAMILY_LABEL: family, MANAGED_LABEL: MANAGER}}
    spec = {"parentRef": {**parent, "name": service["metadata"]["name"]}}
    return {"apiVersion": IP_ADDRESSES.api_version, "kind": IP_ADDRESSES.kind, "metadata": metadata, "spec": spec}


class ServiceCidrController(Controller):
    """Keys are ServiceCIDRs."""

    name = "service-cidrs-controller"

    def __init__(self, client: Client, service_cidrs: Informer, services: Informer, own: str) -> None:
        super().__init__(client)
        self.service_cidrs, self.services, self.own = service_cidrs, services, own
        self.watch(service_cidrs, lambda one: [one["metadata"]["name"], *self._going()])
        self.watch(services, lambda service: self._going())

    def _going(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.service_cidrs if "deletionTimestamp" in one["metadata"]]

    async def run(self) -> None:
        self.queue.add(DEFAULT)
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        found = self.service_cidrs.get(key)
        if found is None:
            if key == DEFAULT:
                await self._make_default()
            return None
        metadata = found["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "deletionTimestamp" in metadata:
            others = [one for one in self.service_cidrs if one["metadata"]["name"] != key]
            addresses = [ip for service in self.services for ip in cluster_ips(service)]
            if needs(found, others, addresses):
                await self._tell(found, IN_USE)
            elif FINALIZER in finalizers:
                left = [one for one in finalizers if one != FINALIZER]
                await self.client.update(SERVICE_CIDRS, {**found, "metadata": {**metadata, "finalizers": left}})
            return None
        if FINALIZER not in finalizers:
            held = {**metadata, "finalizers": [*finalizers, FINALIZER]}
            found = await self.client.update(SERVICE_CIDRS, {**found, "metadata": held})
        await self._tell(found, READY)
        return None

    async def _tell(self, found: Object, condition: Object) -> None:
        now = condition_of(found, "Ready") or {}
        if {name: now.get(name, "") for name in condition} != condition:
            conditions = with_condition(
                list((found.get("status") or {}).get("conditions") or ()), condition, timestamp()
            )
            await self.client.update(
                SERVICE_CIDRS, {**found, "status": {"conditions": conditions}}, subresource="status"
            )

    async def _make_default(self) -> None:
        made = {"apiVersion": SERVICE_CIDRS.api_version, "kind": SERVICE_CIDRS.kind, "metadata": {"name": DEFAULT}}
        try:
            await self.client.create(SERVICE_CIDRS, {**made, "spec": {"cidrs": self.own.split(",")}})
        except ApiError as error:
            if not error.already_exists:
                raise


class IpAddressController(Controller):
    """Keys are addresses: what Services have has an object, and what they have no longer has none."""

    name = "service-cidrs-controller"

    def __init__(self, client: Client, addresses: Informer, services: Informer) -> None:
        super().__init__(client)
        self.addresses, self.services = addresses, services
        services.add_index("clusterIP", lambda service: [canonical(ip) for ip in cluster_ips(service)])
        self.watch(services, lambda service: [canonical(ip) for ip in cluster_ips(service)])
        self.watch(addresses)

    async def reconcile(self, key: str) -> float | None:
        there = self.addresses.get(key)
        owner = next(iter(self.services.by_index("clusterIP", key)), None)
        wanted = object_of(key, owner) if owner is not None else None
        try:
            if wanted is not None and there is None:
                await self.client.create(IP_ADDRESSES, wanted)
            elif there is not None and self._is_wrong(there, wanted):
                metadata = there["metadata"]
                await self.client.delete(IP_ADDRESSES, metadata["name"], uid=metadata["uid"])
        except ApiError as error:
            if not (error.already_exists or error.is_not_found):
                raise
        return None

    @staticmethod
    def _is_wrong(there: Object, wanted: Object | None) -> bool:
        """Whether an object of ours is nobody's, or another's than it says (it cannot be changed)."""
        if (there["metadata"].get("labels") or {}).get(MANAGED_LABEL) != MANAGER:
            return False
        return (
            wanted is None
            or there["spec"].get("parentRef", {}).get("name") != wanted["spec"]["parentRef"]["name"]
            or (there["spec"]["parentRef"].get("namespace") != wanted["spec"]["parentRef"]["namespace"])
        )
