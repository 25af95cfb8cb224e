"""The cables of a laboratory: which interface is plugged into which bridge or into which other interface.

The first step of a plan, from names only. It holds that every name is known and the only one of its kind, that no bridges are
joined in a ring (a frame would go round for ever), and that a subnet is in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sampan.lab.topology import Bridge, Impairment, Interface, Link, LinkEnd, Subnet, Topology


@dataclass(slots=True)
class Jack:
    """An interface of a node before it has numbers and addresses."""

    node: str
    name: str
    subnet: str
    declared: Interface
    path: str
    cable: str = ""
    parent: str = ""
    vlan: int = 0


@dataclass(slots=True)
class Wire:
    """A cable before it has numbers: its ends are jacks, or names of bridges."""

    name: str
    ends: tuple[Jack | str, Jack | str]
    impairment: Impairment


@dataclass(slots=True)
class Layout:
    subnets: dict[str, Subnet] = field(default_factory=dict)
    """The declared ones, and one for each link between nodes that names none."""
    bridges: dict[str, str] = field(default_factory=dict)
    """Bridge → subnet; the declared ones, and one for each subnet that has none but needs it."""
    wires: list[Wire] = field(default_factory=list)
    jacks: list[Jack] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of_node(self, name: str) -> list[Jack]:
        return [jack for jack in self.jacks if jack.node == name]


def lay_out(topology: Topology) -> Layout:
    """Return the layout of a topology; ``problems`` is what is wrong."""
    layout = Layout()
    layout.problems += _duplicates(topology)
    layout.subnets = {subnet.name: subnet for subnet in topology.subnets}
    _Cabling(topology, layout).run()
    return layout


def _duplicates(topology: Topology) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    named = [("subnet", f"subnets[{i}].name", one.name) for i, one in enumerate(topology.subnets)]
    # a link's end is a node or a bridge
    named += [("node or bridge", f"nodes[{i}].name", one.name) for i, one in enumerate(topology.nodes)]
    named += [("node or bridge", f"bridges[{i}].name", one.name) for i, one in enumerate(topology.bridges)]
    named += [("link", f"links[{i}].name", one.name) for i, one in enumerate(topology.links) if one.name]
    for kind, path, name in named:
        if name and (first := seen.setdefault((kind, name), path)) != path:
            yield f"{path}: {name!r} is the name of {first.removesuffix('.name')} already"


class _Cabling:
    def __init__(self, topology: Topology, layout: Layout) -> None:
        self.topology = topology
        self.layout = layout
        self.nodes = {node.name for node in topology.nodes}
        self.bridges: dict[str, Bridge] = {bridge.name: bridge for bridge in topology.bridges}
        self.taken: set[str] = {link.name for link in topology.links if link.name}
        self.names: dict[str, set[str]] = {node.name: set() for node in topology.nodes}
        """The names of each node's interfaces."""
        self.members: set[tuple[str, str]] = set()
        self.pairs: dict[str, str] = {}
        """Subnet → the link between two nodes that is it."""

    def wrong(self, path: str, message: str) -> None:
        self.layout.problems.append(f"{path}: {message}")

    def known(self, kind: str, path: str, name: str, names: list[str]) -> bool:
        if name and name not in names:
            there = f"there are {', '.join(names)}" if names else "there is none"
            self.wrong(path, f"there is no {kind} {name!r}; {there}")
        return name in names

    def run(self) -> None:
        for index, bridge in enumerate(self.topology.bridges):
            if self.known("subnet", f"bridges[{index}].subnet", bridge.subnet, list(self.layout.subnets)):
                self.layout.bridges[bridge.name] = bridge.subnet
        for index, subnet in enumerate(self.topology.subnets):
            self.vlan(subnet, f"subnets[{index}]")
        self.reserve_names()
        for index, node in enumerate(self.topology.nodes):
            for number, interface in enumerate(node.interfaces):
                self.interface(node.name, interface, f"nodes[{index}].interfaces[{number}]")
        for index, link in enumerate(self.topology.links):
            self.link(link, f"links[{index}]")
        self.tagged()
        self.rings()
        for index, bridge in enumerate(self.topology.bridges):
            if bridge.subnet in self.pairs:
                self.wrong(
                    f"bridges[{index}].subnet", f"{bridge.subnet!r} is the link {self.pairs[bridge.subnet]} already"
                )

    def vlan(self, subnet: Subnet, path: str) -> None:
        if subnet.over and self.known("subnet", f"{path}.over", subnet.over, list(self.layout.subnets)):
            if self.layout.subnets[subnet.over].vlan:
                self.wrong(f"{path}.over", f"{subnet.over!r} is a VLAN itself")
            for other in self.topology.subnets:
                if other is subnet:
                    break
                if (other.over, other.vlan) == (subnet.over, subnet.vlan):
                    self.wrong(
                        f"{path}.vlan", f"VLAN {subnet.vlan} over {subnet.over} is subnet {other.name!r} already"
                    )

    def reserve_names(self) -> None:
        """Interfaces that have names keep them; the others get what is free."""
        for index, node in enumerate(self.topology.nodes):
            for number, interface in enumerate(node.interfaces):
                self.reserve(node.name, interface.name, f"nodes[{index}].interfaces[{number}].name")
        for index, link in enumerate(self.topology.links):
            for number, end in enumerate(link.ends):
                if end.name in self.nodes:
                    self.reserve(end.name, end.interface.name, f"links[{index}].ends[{number}].name")

    def reserve(self, node: str, name: str, path: str) -> None:
        names = self.names[node]
        if name and name in names:
            self.wrong(path, f"node {node!r} has an interface {name!r} already")
        elif name:
            names.add(name)

    def free_name(self, node: str) -> str:
        names = self.names[node]
        number = 0
        while f"eth{number}" in names:
            number += 1
        names.add(f"eth{number}")
        return f"eth{number}"

    def free_cable(self, wish: str) -> str:
        name, number = wish, 2
        while name in self.taken:
            name, number = f"{wish}-{number}", number + 1
        self.taken.add(name)
        return name

    def jack(self, node: str, interface: Interface, subnet: str, path: str) -> Jack:
        if (node, subnet) in self.members:
            self.wrong(path, f"node {node!r} is in subnet {subnet!r} already")
        self.members.add((node, subnet))
        jack = Jack(node, interface.name or self.free_name(node), subnet, interface, path)
        self.layout.jacks.append(jack)
        return jack

    def interface(self, node: str, interface: Interface, path: str) -> None:
        if not self.known("subnet", f"{path}.subnet", interface.subnet, list(self.layout.subnets)):
            return
        subnet = self.layout.subnets[interface.subnet]
        if subnet.vlan:
            for field_name in ("bridge", "link"):
                if getattr(interface, field_name):
                    self.wrong(f"{path}.{field_name}", f"{subnet.name!r} is a VLAN and goes where {subnet.over!r} goes")
            if not interface.name:
                base = next((one.name for one in self.layout.of_node(node) if one.subnet == subnet.over), "")
                name = f"{base}.{subnet.vlan}"
                if base and len(name) <= 15 and name not in self.names[node]:
                    self.names[node].add(name)
                    interface = _named(interface, name)
            self.jack(node, interface, subnet.name, path)
            return
        bridge = self.bridge_of(interface, path)
        jack = self.jack(node, interface, interface.subnet, path)
        if interface.link and interface.link in self.taken:
            self.wrong(f"{path}.link", f"there is a link {interface.link!r} already")
        jack.cable = interface.link or self.free_cable(f"{node}-{bridge}")
        self.taken.add(jack.cable)
        self.layout.wires.append(Wire(jack.cable, (bridge, jack), interface.impairment))

    def bridge_of(self, interface: Interface, path: str) -> str:
        if interface.bridge and self.known("bridge", f"{path}.bridge", interface.bridge, list(self.bridges)):
            if self.bridges[interface.bridge].subnet != interface.subnet:
                other = self.bridges[interface.bridge].subnet
                self.wrong(f"{path}.bridge", f"bridge {interface.bridge!r} carries subnet {other!r}")
            return interface.bridge
        for name, subnet in self.layout.bridges.items():
            if subnet == interface.subnet:
                return name
        name = interface.subnet
        while name in self.bridges or name in self.layout.bridges:
            name += ".br"
        self.layout.bridges[name] = interface.subnet
        return name

    def link(self, link: Link, path: str) -> None:
        first, second = link.ends
        for number, end in enumerate(link.ends):
            if end.name and end.name not in self.nodes and end.name not in self.bridges:
                self.wrong(f"{path}.ends[{number}]", f"there is no node or bridge {end.name!r}")
                return
        if not first.name or not second.name:
            return
        if first.name == second.name:
            self.wrong(f"{path}.ends", f"both ends are {first.name!r}")
            return
        name = link.name or self.free_cable(f"{first.name}-{second.name}")
        ends = [end.name in self.nodes for end in link.ends]
        if all(ends):
            self.pair(link, name, path)
        elif any(ends):
            self.plug(link, name, path)
        else:
            self.trunk(link, name, path)

    def pair(self, link: Link, name: str, path: str) -> None:
        """Two nodes: a subnet of its own."""
        subnet = link.subnet or name
        if not link.subnet:
            if subnet in self.layout.subnets:
                self.wrong(f"{path}.name", f"{subnet!r} is the name of a subnet; say `subnet: {subnet}` if it is meant")
            self.layout.subnets.setdefault(subnet, Subnet(subnet))
        elif not self.known("subnet", f"{path}.subnet", subnet, list(self.layout.subnets)):
            return
        elif subnet in self.layout.bridges.values() or subnet in self.pairs:
            message = f"subnet {subnet!r} has other members; a link between nodes is a subnet of its own"
            self.wrong(f"{path}.subnet", f"{message}, more than two nodes meet at a bridge")
        elif self.layout.subnets[subnet].vlan:
            self.wrong(f"{path}.subnet", f"{subnet!r} is a VLAN; its interfaces are declared with the nodes")
        self.pairs[subnet] = name
        jacks = [self.jack(end.name, end.interface, subnet, f"{path}.ends[{n}]") for n, end in enumerate(link.ends)]
        for jack in jacks:
            jack.cable = name
        self.layout.wires.append(Wire(name, (jacks[0], jacks[1]), link.impairment))

    def plug(self, link: Link, name: str, path: str) -> None:
        """A node and a bridge."""
        number = 0 if link.ends[0].name in self.nodes else 1
        node, bridge = link.ends[number], link.ends[1 - number]
        self.no_interface(bridge, f"{path}.ends[{1 - number}]")
        subnet = self.bridges[bridge.name].subnet
        if link.subnet and link.subnet != subnet:
            self.wrong(f"{path}.subnet", f"bridge {bridge.name!r} carries subnet {subnet!r}")
        jack = self.jack(node.name, node.interface, subnet, f"{path}.ends[{number}]")
        jack.cable = name
        self.layout.wires.append(Wire(name, (bridge.name, jack), link.impairment))

    def trunk(self, link: Link, name: str, path: str) -> None:
        """Two bridges."""
        for number, end in enumerate(link.ends):
            self.no_interface(end, f"{path}.ends[{number}]")
        one, other = (self.bridges[end.name].subnet for end in link.ends)
        if one != other:
            self.wrong(f"{path}.ends", f"joins subnets {one!r} and {other!r} without a router")
        self.layout.wires.append(Wire(name, (link.ends[0].name, link.ends[1].name), link.impairment))

    def no_interface(self, end: LinkEnd, path: str) -> None:
        if end.interface.name or end.interface.addresses or end.interface.mac:
            self.wrong(path, f"{end.name!r} is a bridge: its port has no name, address or mac of its own")

    def tagged(self) -> None:
        """A VLAN's interface lies on the node's interface in the subnet that carries it."""
        for jack in self.layout.jacks:
            subnet = self.layout.subnets[jack.subnet]
            if not subnet.vlan or not subnet.over:
                continue
            carrier = next((one for one in self.layout.of_node(jack.node) if one.subnet == subnet.over), None)
            if carrier is None:
                message = f"{subnet.name!r} is VLAN {subnet.vlan} over {subnet.over!r}, where node {jack.node!r} is not"
                self.wrong(f"{jack.path}.subnet", message)
                continue
            jack.parent, jack.vlan, jack.cable = carrier.name, subnet.vlan, carrier.cable

    def rings(self) -> None:
        """Bridges are trees, and those of one subnet are one tree."""
        root = {bridge: bridge for bridge in self.layout.bridges}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        for index, link in enumerate(self.topology.links):
            one, other = (end.name for end in link.ends)
            if one in root and other in root and one != other:
                if find(one) == find(other):
                    self.wrong(
                        f"links[{index}].ends", f"{one} and {other} are joined already: bridges in a ring loop frames"
                    )
                root[find(one)] = find(other)
        first: dict[str, str] = {}
        for index, bridge in enumerate(self.topology.bridges):
            if bridge.name in root and find(first.setdefault(bridge.subnet, bridge.name)) != find(bridge.name):
                message = f"carries subnet {bridge.subnet!r} but no link joins it to {first[bridge.subnet]}"
                self.wrong(f"bridges[{index}]", f"{bridge.name!r} {message}")


def _named(interface: Interface, name: str) -> Interface:
    return Interface(
        interface.subnet, name, interface.addresses, interface.mac, interface.mtu, "", "", interface.impairment
    )
