"""The network part of a node: pods' links (CNI), Services as nftables rules, LoadBalancer addresses.

``serve`` runs in the cluster's network and mount namespace, in the node's process. CNI answers before the API does, so that
pods of an earlier run keep their links; ``ready`` is called when the Services that exist are in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.resources import ENDPOINT_SLICES, SERVICES
from sampan.network import cni_shim, node_network, service_agent
from sampan.network.cluster_link import NODE_INTERFACE
from sampan.network.cni import Plugin, serve_cni
from sampan.network.families import Address, Network, family_of
from sampan.network.policy_agent import PolicyAgent
from sampan.network.service_agent import ServicesConfig
from sampan.network.service_table import ProxyConfig

logger = logging.getLogger("sampan.network")

LINK_BITS = 2
"""The link to the host has so many bits for addresses."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Ranges and addresses are of one family or of both, the first the main one."""

    node_name: str
    kubeconfig: Path
    cni_socket: Path
    cni_dir: Path
    """``bin`` and ``net.d`` below it are containerd's ``bin_dir`` and ``conf_dir``."""
    state_dir: Path
    pod_cidrs: tuple[Network, ...]
    node_ips: tuple[Address, ...]
    cluster_cidrs: tuple[Network, ...]
    load_balancer_cidrs: tuple[Network, ...]


async def serve(config: NetworkConfig, ready: Callable[[], None]) -> None:
    """Run the node's network until cancelled."""
    node_network.switch([family_of(network) for network in config.pod_cidrs])
    client = HttpClient(load(config.kubeconfig), agent="sampan-network")
    policies = PolicyAgent(client)
    plugin = Plugin(config.pod_cidrs, node_network.uplink_mtu(NODE_INTERFACE), policies)
    await asyncio.to_thread(plugin.prepare)
    cni_shim.install(config.cni_dir, config.cni_socket)
    try:
        services = Informer(client, SERVICES)
        slices = Informer(client, ENDPOINT_SLICES)
        proxied = ServicesConfig(proxy_of(config), config.load_balancer_cidrs)
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_cni(plugin, config.cni_socket), name="cni")
            group.create_task(services.run(), name="services")
            group.create_task(slices.run(), name="endpoint-slices")
            group.create_task(service_agent.run(client, proxied, services, slices, ready), name="services-agent")
            group.create_task(policies.run(), name="policies")
    finally:
        await client.close()
        plugin.executor.shutdown(wait=False)


def proxy_of(config: NetworkConfig) -> ProxyConfig:
    """Return what the rules depend on. The one node sees all answers, so every client's address is kept; what is in the
    cluster's ranges and nobody's is refused here, where it would else go to the host and come back."""
    links = [network_of(address, LINK_BITS) for address in config.node_ips]
    return ProxyConfig(
        config.node_name,
        config.node_ips,
        config.pod_cidrs,
        inside=config.pod_cidrs,
        refused=tuple(without(config.cluster_cidrs, [*config.pod_cidrs, *links])),
        uplink=NODE_INTERFACE,
    )


def network_of(address: Address, bits: int) -> Network:
    """Return the range of an address that has so many bits for addresses."""
    if address.version == 4:
        return IPv4Network((address, 32 - bits), strict=False)
    return IPv6Network((address, 128 - bits), strict=False)


def without(networks: Iterable[Network], taken: Iterable[Network]) -> list[Network]:
    """Return ranges without those that are in them."""
    left = list(networks)
    for hole in taken:
        left = [one for network in left for one in _around(network, hole)]
    return sorted(left, key=lambda one: (one.version, int(one.network_address)))


def _around(network: Network, hole: Network) -> Iterable[Network]:
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network):
        return network.address_exclude(hole) if hole.subnet_of(network) else [network]
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network):
        return network.address_exclude(hole) if hole.subnet_of(network) else [network]
    return [network]
