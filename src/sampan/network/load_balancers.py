"""Addresses for Services of type LoadBalancer, from the cluster's own pool, written to ``status.loadBalancer``.

The host routes the pool to the node, so an address answers from the moment the Service proxy knows it. Services that name a
``loadBalancerClass`` are somebody else's. Which address is whose stands in the Services' status only.
Source: the service controller of cloud-controller-manager (events), KEP-1860 (ipMode).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of, split_key
from sampan.client.protocol import Client
from sampan.client.resources import SERVICES
from sampan.network.addresses import AddressPool, NoFreeAddress
from sampan.network.families import Address, Network
from sampan.schema.objects import Object


class LoadBalancers(Controller):
    name = "load-balancers"
    workers = 1

    def __init__(self, client: Client, services: Informer, pool: IPv4Network, events: EventRecorder) -> None:
        super().__init__(client)
        self.services = services
        self.pool = AddressPool(pool)
        self.events = events
        self._waiting: set[str] = set()
        self.watch(services)

    async def run(self) -> None:
        await self.services.synced()
        # those who have an address come before those who want one
        for service in self.services:
            address = assigned(service)
            if is_ours(service) and address:
                self.pool.take(address, key_of(service))
        await super().run()

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None or not is_ours(service):
            self._release(key)
            if service is not None and assigned_by_us(service, self.pool.network):
                await self._write(key, None)
            return
        address = self._address(key, service)
        if address is None:
            return
        if assigned(service) != address:
            self.events.normal(service, "EnsuringLoadBalancer", "Ensuring load balancer")
            await self._write(key, address)
            self.events.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")

    def _address(self, key: str, service: Object) -> Address | None:
        """Return the Service's address: the wanted one, the one it has, or a free one; None with an event."""
        wanted = requested(service)
        try:
            found: Address
            if wanted:
                if self.pool.taken.get(wanted) != key:
                    self._release(key)
                if not self.pool.take(wanted, key):
                    raise NoFreeAddress(f"{wanted} is not free, or not an address of {self.pool.network}")
                found = wanted
            else:
                held = assigned(service)
                found = held if held and self.pool.take(held, key) else self._held(key) or self.pool.allocate(key)
        except NoFreeAddress as error:
            self._waiting.add(key)
            message = f"Error syncing load balancer: failed to ensure load balancer: {error}"
            self.events.warning(service, "SyncLoadBalancerFailed", message)
            return None
        self._waiting.discard(key)
        return found

    def _held(self, key: str) -> Address | None:
        return next((address for address, owner in self.pool.taken.items() if owner == key), None)

    def _release(self, key: str) -> None:
        self._waiting.discard(key)
        if self._held(key) is not None:
            self.pool.release(key)
            for waiting in self._waiting:
                self.queue.add(waiting)

    async def _write(self, key: str, address: Address | None) -> None:
        ingress = [{"ip": str(address), "ipMode": "VIP"}] if address else None
        namespace, name = split_key(key)
        patch = {"status": {"loadBalancer": {"ingress": ingress}}}
        await self.client.patch(SERVICES, name, patch, namespace, subresource="status")


def is_ours(service: Object) -> bool:
    spec = service.get("spec") or {}
    going = service["metadata"].get("deletionTimestamp")
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not going


def assigned(service: Object) -> IPv4Address | None:
    """Return the first address of the status."""
    for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        return _parse(entry.get("ip"))
    return None


def assigned_by_us(service: Object, pool: Network) -> bool:
    address = assigned(service)
    return address is not None and address in pool


def requested(service: Object) -> IPv4Address | None:
    return _parse(service["spec"].get("loadBalancerIP"))


def _parse(text: object) -> IPv4Address | None:
    try:
        return IPv4Address(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
