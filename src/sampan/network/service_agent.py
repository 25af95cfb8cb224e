"""The Services of a node as an agent: rules in the kernel, addresses for LoadBalancers, health over HTTP.

``run`` works with any client, ``serve`` with a kubeconfig's connection: beside another network plugin, on any Kubernetes,
in the place of kube-proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.leases import Elector, LeaseConfig, LostLease
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, NODES, SERVICES
from sampan.network.families import Network
from sampan.network.load_balancer_pool import LOAD_BALANCER_CLASS
from sampan.network.load_balancers import LoadBalancers
from sampan.network.proxy_metrics import ProxyMetrics
from sampan.network.proxy_server import HEALTHZ_PORT, METRICS_PORT, ProxyServer
from sampan.network.service_proxy import ServiceProxy
from sampan.network.service_table import ProxyConfig

logger = logging.getLogger("sampan.network")


@dataclass(frozen=True, slots=True)
class ServicesConfig:
    proxy: ProxyConfig
    load_balancer_pools: tuple[Network, ...] = ()
    """Empty: LoadBalancers get their addresses from somebody else."""
    load_balancer_class: str = LOAD_BALANCER_CLASS
    default_load_balancer: bool = True
    """Whether Services that name no class get an address, too."""
    healthz_port: int = HEALTHZ_PORT
    metrics_port: int = METRICS_PORT
    many_nodes: bool = False
    """Whether other nodes have such agents, too: one of all gives addresses to LoadBalancers, as a Lease says."""


async def run(
    client: Client, config: ServicesConfig, services: Informer, slices: Informer, ready: Callable[[], None]
) -> None:
    """Work until cancelled. The informers are run by the caller; ``ready`` is called when all rules are in the kernel."""
    node_name = config.proxy.node_name
    nodes = Informer(client, NODES, field_selector=f"metadata.name={node_name}")
    proxy_events = EventRecorder(client, "kube-proxy", node_name)
    metrics = ProxyMetrics()
    server = ProxyServer(
        metrics,
        nodes,
        services,
        node_name,
        proxy_events,
        healthz_port=config.healthz_port,
        metrics_port=config.metrics_port,
    )
    proxy = ServiceProxy(config.proxy, services, slices, nodes, metrics, server.follow)
    async with asyncio.TaskGroup() as group:
        group.create_task(nodes.run(), name="node")
        group.create_task(proxy_events.run(), name="proxy-events")
        group.create_task(server.run(), name="proxy-server")
        if config.load_balancer_pools:
            events = EventRecorder(client, "service-controller")
            balancers = LoadBalancers(
                client,
                services,
                config.load_balancer_pools,
                events,
                load_balancer_class=config.load_balancer_class,
                default=config.default_load_balancer,
            )
            group.create_task(events.run(), name="events")
            work = lead(client, balancers, node_name) if config.many_nodes else balancers.run()
            group.create_task(work, name="load-balancers")
        group.create_task(proxy.run(ready), name="service-proxy")


async def lead(client: Client, balancers: LoadBalancers, node_name: str) -> None:
    """Give addresses to LoadBalancers while this node is the one to do so."""
    elector = Elector(client, LeaseConfig("sampan-load-balancers", f"{node_name}_{os.getpid()}"))
    while True:
        with contextlib.suppress(LostLease):
            await elector.run(balancers.run)


async def serve(client: Client, config: ServicesConfig, ready: Callable[[], None]) -> None:
    """Work until cancelled, with informers of its own."""
    services, slices = Informer(client, SERVICES), Informer(client, ENDPOINT_SLICES)
    async with asyncio.TaskGroup() as group:
        group.create_task(services.run(), name="services")
        group.create_task(slices.run(), name="endpoint-slices")
        group.create_task(run(client, config, services, slices, ready), name="services-agent")
