"""Routes: for every node the next hop towards every subnet, along the fewest routers.

From each subnet the search goes outwards over its routers; a router is not passed from a subnet that it hides the others from
(NAT). A node that is no router has one default route and only those others that go another way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_network
from typing import NamedTuple

from sampan.lab.addressing import Addresses
from sampan.lab.layout import Jack, Layout
from sampan.lab.plan import PlannedRoute
from sampan.lab.topology import Node, Topology
from sampan.network.families import Address, Network

EVERYWHERE: dict[int, Network] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


class Hop(NamedTuple):
    """The way on from a subnet: over which router, and how many are still to come."""

    distance: int
    router: str
    address: Address


class Routing:
    """``routes(node)`` is what a node gets; ``problems`` is what was declared in vain."""

    def __init__(
        self, topology: Topology, layout: Layout, networks: Mapping[str, tuple[Network, ...]], addresses: Addresses
    ) -> None:
        self.topology = topology
        self.addresses = addresses
        self.networks = networks
        self.problems: list[str] = []
        self.jacks: dict[str, list[Jack]] = {node.name: [] for node in topology.nodes}
        for jack in layout.jacks:
            self.jacks[jack.node].append(jack)
        self.nodes = {node.name: node for node in topology.nodes}
        self.routers = [node for node in topology.nodes if node.router]
        self.at: dict[tuple[str, int], list[tuple[Node, Address]]] = {}
        """(subnet, family) → its routers, with their addresses there."""
        for router in self.routers:
            for jack in self.jacks[router.name]:
                for version, address in self.own(jack).items():
                    self.at.setdefault((jack.subnet, version), []).append((router, address))
        self.hops = {
            (name, network.version): self.towards(name, network.version)
            for name, found in networks.items()
            for network in found
        }

    def own(self, jack: Jack) -> dict[int, Address]:
        """Return the first address of each family."""
        found: dict[int, Address] = {}
        for address in self.addresses[jack.node, jack.name]:
            found.setdefault(address.version, address.ip)
        return found

    def towards(self, subnet: str, version: int) -> dict[str, Hop]:
        """Return the best hop to a subnet from every other subnet that has one."""
        found: dict[str, Hop] = {}
        edge = [subnet]
        distance = 0
        while edge:
            distance += 1
            reached: list[str] = []
            for near in edge:
                for router, _ in self.at.get((near, version), ()):
                    for jack in self.jacks[router.name]:
                        here = jack.subnet
                        if here in (subnet, near) or here in found or here in router.nat:
                            continue
                        if (address := self.own(jack).get(version)) is not None:
                            found[here] = Hop(distance, router.name, address)
                            reached.append(here)
            edge = reached
        return found

    def routes(self, node: Node) -> tuple[PlannedRoute, ...]:
        planned = self.planned(node) if node.planned_routes else {}
        for index, route in enumerate(node.routes):
            path = f"nodes[{self.topology.nodes.index(node)}].routes[{index}].via"
            if (interface := self.interface_to(node, route.via, path)) is not None:
                planned[route.to] = PlannedRoute(route.to, route.via, interface)
        return tuple(planned.values())

    def planned(self, node: Node) -> dict[Network, PlannedRoute]:
        mine = {jack.subnet: jack for jack in self.jacks[node.name]}
        ways: dict[Network, PlannedRoute] = {}
        for name, networks in self.networks.items():
            if name in mine:
                continue
            for network in networks:
                hops = self.hops[name, network.version]
                options = [(hop, jack) for subnet, jack in mine.items() if (hop := hops.get(subnet)) is not None]
                options = [(hop, jack) for hop, jack in options if network.version in self.own(jack)]
                options = [(hop, jack) for hop, jack in options if hop.router != node.name]
                if options:
                    hop, jack = min(options, key=lambda option: option[0].distance)
                    ways[network] = PlannedRoute(network, hop.address, jack.name)
        return ways if node.router else _with_default(ways)

    def interface_to(self, node: Node, via: Address, path: str) -> str | None:
        """Return the interface whose subnet has an address of a router in it, or tell why there is none."""
        for jack in self.jacks[node.name]:
            if not any(via.version == network.version and via in network for network in self.networks[jack.subnet]):
                continue
            if any(address.ip == via for address in self.addresses[node.name, jack.name]):
                self.problems.append(f"{path}: {via} is the node's own address")
                return None
            for (owner, name), addresses in self.addresses.items():
                if any(address.ip == via for address in addresses):
                    if not self.nodes[owner].router:
                        self.problems.append(f"{path}: {via} is {owner}/{name}, which is no router")
                        return None
                    return jack.name
            self.problems.append(f"{path}: nobody in subnet {jack.subnet!r} has the address {via}")
            return None
        self.problems.append(f"{path}: {via} is in no subnet of node {node.name!r}")
        return None


def _with_default(ways: dict[Network, PlannedRoute]) -> dict[Network, PlannedRoute]:
    """Put a default route for the hop that most routes share."""
    kept = dict(ways)
    for version, everywhere in EVERYWHERE.items():
        family = [route for route in ways.values() if route.to.version == version]
        if not family:
            continue
        via, interface = Counter((route.via, route.interface) for route in family).most_common(1)[0][0]
        for route in family:
            if (route.via, route.interface) == (via, interface):
                del kept[route.to]
        kept[everywhere] = PlannedRoute(everywhere, via, interface)
    return kept
