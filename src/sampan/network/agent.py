"""The network part of a node: pods' links (CNI), Services and policies as nftables rules, LoadBalancer addresses.

``serve`` runs in the cluster's network and mount namespace, in the node's process. CNI answers before the API does, so that
pods of an earlier run keep their links; ``ready`` is called when the Services that exist are in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from sampan.client.events import EventRecorder
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.resources import ENDPOINT_SLICES, SERVICES
from sampan.network import cni_shim, node_network
from sampan.network.cluster_link import NODE_INTERFACE
from sampan.network.cni import Plugin, serve_cni
from sampan.network.load_balancers import LoadBalancers
from sampan.network.policy_agent import PolicyAgent
from sampan.network.service_proxy import ServiceProxy
from sampan.network.services import ProxyConfig

logger = logging.getLogger("sampan.network")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    kubeconfig: Path
    cni_socket: Path
    cni_dir: Path
    """``bin`` and ``net.d`` below it are containerd's ``bin_dir`` and ``conf_dir``."""
    state_dir: Path
    pod_cidr: IPv4Network
    node_ip: IPv4Address
    cluster_cidr: IPv4Network
    load_balancer_cidr: IPv4Network


async def serve(config: NetworkConfig, ready: Callable[[], None]) -> None:
    """Run the node's network until cancelled."""
    node_network.switch()
    client = HttpClient(load(config.kubeconfig), agent="sampan-network")
    policies = PolicyAgent(client)
    plugin = Plugin([config.pod_cidr], node_network.uplink_mtu(NODE_INTERFACE), policies)
    await asyncio.to_thread(plugin.prepare)
    cni_shim.install(config.cni_dir, config.cni_socket)
    try:
        services = Informer(client, SERVICES)
        slices = Informer(client, ENDPOINT_SLICES)
        rules = ProxyConfig(config.node_ip, config.cluster_cidr, config.pod_cidr, NODE_INTERFACE)
        proxy = ServiceProxy(rules, services, slices)
        events = EventRecorder(client, "service-controller")
        balancers = LoadBalancers(client, services, config.load_balancer_cidr, events)
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_cni(plugin, config.cni_socket), name="cni")
            group.create_task(services.run(), name="services")
            group.create_task(slices.run(), name="endpoint-slices")
            group.create_task(events.run(), name="events")
            group.create_task(balancers.run(), name="load-balancers")
            group.create_task(proxy.run(ready), name="service-proxy")
            group.create_task(policies.run(), name="policies")
    finally:
        await client.close()
        plugin.executor.shutdown(wait=False)
