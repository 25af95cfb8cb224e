"""What a proxy must know of its node: read off its Node object, where nobody says it.

For the agents that run on the nodes of any Kubernetes; a cluster of our own knows it from its settings.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.client.protocol import Client
from sampan.client.resources import NODES
from sampan.client.waiting import WaitTimeout, wait_for
from sampan.network.families import Address, Network, parse_address, parse_network
from sampan.network.service_table import ProxyConfig
from sampan.schema.objects import Object


class NodeUnknown(Exception):
    """The API has no such node, or the node no address; the message says what to do."""


async def node_of(client: Client, name: str, patience_seconds: float) -> Object:
    """Return a Node that has an address: its kubelet may be about to register it. Raises ``NodeUnknown``."""

    def missing(node: Object | None) -> str:
        if node is None:
            return f"there is no node {name!r}"
        return "" if addresses_of(node) else f"node {name!r} has no InternalIP"

    try:
        node = await wait_for(client, NODES, name, missing, seconds=patience_seconds)
    except WaitTimeout as error:
        node = error.last
        raise NodeUnknown(f"{missing(node)}; --node names another") from error
    assert node is not None
    return node


def addresses_of(node: Object) -> tuple[Address, ...]:
    """Return the first InternalIP of each family, the main one first."""
    found: dict[int, Address] = {}
    for entry in (node.get("status") or {}).get("addresses") or ():
        address = parse_address(entry.get("address")) if entry.get("type") == "InternalIP" else None
        if address is not None:
            found.setdefault(address.version, address)
    return tuple(found.values())


def pod_cidrs_of(node: Object) -> tuple[Network, ...]:
    spec = node.get("spec") or {}
    given = spec.get("podCIDRs") or [spec.get("podCIDR")]
    return tuple(network for text in given if (network := parse_network(text)) is not None)


def proxy_config(
    node: Object, cluster_cidrs: Iterable[Network] = (), node_port_addresses: Iterable[Address] = ()
) -> ProxyConfig:
    """Return what the rules of a node's Services depend on. ``cluster_cidrs``: the ranges of all pods (default: of this
    node's alone are known not to be outside); ``node_port_addresses``: where node ports answer (default: at the node's)."""
    pods = pod_cidrs_of(node)
    return ProxyConfig(
        node["metadata"]["name"],
        tuple(node_port_addresses) or addresses_of(node),
        pods,
        inside=tuple(cluster_cidrs) or pods,
        masquerade=True,
    )
