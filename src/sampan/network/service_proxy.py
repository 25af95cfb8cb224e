"""Keeps the kernel's tables equal to the Services: what changed within a tick of the loop becomes one transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from sampan.client.informer import Informer, key_of
from sampan.network.nft import NftError
from sampan.network.proxy_metrics import ProxyMetrics
from sampan.network.rule_table import Change, RuleTable
from sampan.network.service_endpoints import Endpoint
from sampan.network.service_flows import forget_stale
from sampan.network.service_kernel import ServiceKernel
from sampan.network.service_table import ProxyConfig
from sampan.network.services import NOTHING, SERVICE_NAME, WAYPOINT_FOR, Frontend, ServiceRules, rules_of
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.network")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
INLINE_ELEMENTS = 512
"""So many elements the kernel takes in less time than a thread takes to begin."""
ZONE = "topology.kubernetes.io/zone"


def service_keys(piece: Object) -> Iterable[str]:
    """Yield the key of the Service that an EndpointSlice belongs to, or leads to a proxy in front of."""
    labels = piece["metadata"].get("labels") or {}
    name = labels.get(SERVICE_NAME) or labels.get(WAYPOINT_FOR)
    if name:
        yield f"{piece['metadata'].get('namespace')}/{name}"


class ServiceProxy:
    """Watches Services, EndpointSlices and the own node; ``run`` applies them. ``on_synced`` is called with what changed
    when it is in the kernel."""

    def __init__(
        self,
        config: ProxyConfig,
        services: Informer,
        slices: Informer,
        nodes: Informer,
        metrics: ProxyMetrics,
        on_synced: Callable[[Mapping[str, ServiceRules]], None] = lambda changed: None,
    ) -> None:
        self.config = config
        self.table = RuleTable(config)
        self.metrics = metrics
        self.place = config.place()
        self._services, self._slices, self._nodes = services, slices, nodes
        self._on_synced = on_synced
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        slices.add_index("service", service_keys)
        services.add_handler(self._on_service)
        slices.add_handler(self._on_slice)
        nodes.add_handler(self._on_node)

    def _queue(self, keys: Iterable[str]) -> None:
        self._changed.update(keys)
        self.metrics.queued(time.time())
        self._wake.set()

    def _on_service(self, change: str, old: Object | None, new: Object) -> None:
        self.metrics.service_changes += 1
        self._queue((key_of(new),))

    def _on_slice(self, change: str, old: Object | None, new: Object) -> None:
        self.metrics.endpoint_changes += 1
        self.metrics.triggered(new)
        self._queue((*service_keys(new), *(service_keys(old) if old is not None else ())))

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        """Follow the zone of the node: with it, every choice by zone is another one."""
        labels = new["metadata"].get("labels") or {}
        zone = labels.get(ZONE, "") if change != "DELETED" else ""
        if new["metadata"]["name"] == self.config.node_name and zone != self.place.zone:
            self.place = self.config.place(zone)
            self._queue(key_of(service) for service in self._services)

    async def run(self, ready: Callable[[], None]) -> None:
        """Apply until cancelled; ``ready`` is called when the first whole table is in the kernel."""
        for informer in (self._services, self._slices, self._nodes):
            await informer.synced()
        kernel = ServiceKernel(self.config)
        try:
            await self._keep(kernel, ready)
        finally:
            kernel.close()

    async def _keep(self, kernel: ServiceKernel, ready: Callable[[], None]) -> None:
        whole, pause = True, FIRST_PAUSE_SECONDS
        announced = False
        # what the kernel has not taken yet stays
        changed: dict[str, ServiceRules] = {}
        stale: dict[Frontend, frozenset[Endpoint]] = {}
        while True:
            self._wake.clear()
            begun = time.perf_counter()
            changed.update((key, self._rules(key)) for key in self._changed)
            self._changed.clear()
            stale.update(self._stale(changed))
            change = self.table.update(changed)
            try:
                await self._apply(kernel, change, whole)
            except NftError as error:
                logger.error("nftables refused the Services' rules: %s", error)
                self.metrics.failures += 1
                whole = True
                self._wake.clear()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if stale:
                await asyncio.to_thread(_forget, stale, self.config)
            self.metrics.synced(time.perf_counter() - begun, time.time(), whole, changed)
            self._on_synced({**changed, **self.table.services} if whole else changed)
            whole, pause = False, FIRST_PAUSE_SECONDS
            changed, stale = {}, {}
            if not announced:
                announced = True
                ready()
            await self._wake.wait()

    async def _apply(self, kernel: ServiceKernel, change: Change, whole: bool) -> None:
        if whole:
            await asyncio.to_thread(kernel.adopt, self.table)
        elif len(change.added) + len(change.removed) > INLINE_ELEMENTS:
            await asyncio.to_thread(kernel.apply, change)
        elif change:
            kernel.apply(change)

    def _rules(self, key: str) -> ServiceRules:
        return rules_of(
            self._services.get(key), self._slices.by_index("service", key), self.config, self.place
        )  # fmt: skip

    def _stale(self, changed: dict[str, ServiceRules]) -> dict[Frontend, frozenset[Endpoint]]:
        """Return where UDP goes now, for the addresses where it went elsewhere before."""
        found: dict[Frontend, frozenset[Endpoint]] = {}
        for key, new in changed.items():
            old = self.table.services.get(key, NOTHING).datagrams
            for address in {*old, *new.datagrams}:
                now = new.datagrams.get(address, frozenset())
                if old.get(address) != now:
                    found[address] = now
        return found


def _forget(stale: dict[Frontend, frozenset[Endpoint]], config: ProxyConfig) -> None:
    try:
        forget_stale(stale, config.node_ips, config.families)
    except OSError as error:
        logger.warning("stale UDP entries of connection tracking stay until they time out: %s", error)
