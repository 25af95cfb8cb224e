"""Addresses for Services of type LoadBalancer, from the cluster's own pools, written to ``status.loadBalancer``.

The pools are routed to the node, so an address answers from the moment the Service proxy knows it. Services that name
another's ``loadBalancerClass`` are left alone. Source: the service controller of cloud-controller-manager (events),
KEP-1860 (ipMode), KEP-1959 (loadBalancerClass).
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of, split_key
from sampan.client.protocol import Client
from sampan.client.resources import SERVICES
from sampan.network.families import Address, Network
from sampan.network.load_balancer_pool import LOAD_BALANCER_CLASS, Pool, Refused, assigned, claim_of
from sampan.schema.objects import Object


class LoadBalancers(Controller):
    """``default``: whether Services without a class are ours."""

    name = "load-balancers"
    workers = 1

    def __init__(
        self,
        client: Client,
        services: Informer,
        pools: Iterable[Network],
        events: EventRecorder,
        *,
        load_balancer_class: str = LOAD_BALANCER_CLASS,
        default: bool = True,
    ) -> None:
        super().__init__(client)
        self.services = services
        self.pool = Pool(pools)
        self.events = events
        self._class, self._default = load_balancer_class, default
        self._waiting: set[str] = set()
        self.watch(services)

    async def run(self) -> None:
        await self.services.synced()
        # those who have an address come before those who want one
        for service in self.services:
            if self.is_ours(service) and assigned(service):
                try:
                    self.pool.take(claim_of(key_of(service), service), assigned(service))
                except Refused:
                    continue  # it is told when its turn comes
        await super().run()

    def is_ours(self, service: Object) -> bool:
        spec = service.get("spec") or {}
        if spec.get("type") != "LoadBalancer" or service["metadata"].get("deletionTimestamp"):
            return False
        named = spec.get("loadBalancerClass")
        return named == self._class if named else self._default

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None or not self.is_ours(service):
            self._release(key)
            if service is not None and self._left_over(service):
                await self._write(key, None)
            return
        before = self.pool.of(key)
        try:
            found = self.pool.take(claim_of(key, service), assigned(service))
        except Refused as error:
            self._release(key)
            self._waiting.add(key)
            message = f"Error syncing load balancer: failed to ensure load balancer: {error}"
            self.events.warning(service, "SyncLoadBalancerFailed", message)
            if any(address in self.pool for address in assigned(service)):
                await self._write(key, None)
            found = []
        if set(before) - set(found):
            self._wake_waiting(key)
        if not found:
            return
        self._waiting.discard(key)
        if assigned(service) != found:
            self.events.normal(service, "EnsuringLoadBalancer", "Ensuring load balancer")
            await self._write(key, found)
            self.events.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")

    def _left_over(self, service: Object) -> bool:
        """Whether a Service that is no LoadBalancer any more still has an address of ours."""
        is_balancer = (service.get("spec") or {}).get("type") == "LoadBalancer"
        return not is_balancer and any(address in self.pool for address in assigned(service))

    def _release(self, key: str) -> None:
        self._waiting.discard(key)
        if self.pool.release(key):
            self._wake_waiting(key)

    def _wake_waiting(self, key: str) -> None:
        for waiting in self._waiting - {key}:
            self.queue.add(waiting)

    async def _write(self, key: str, addresses: list[Address] | None) -> None:
        ingress = [{"ip": str(address), "ipMode": "VIP"} for address in addresses] if addresses else None
        namespace, name = split_key(key)
        patch = {"status": {"loadBalancer": {"ingress": ingress}}}
        await self.client.patch(SERVICES, name, patch, namespace, subresource="status")
