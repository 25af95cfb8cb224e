"""Topology → ``Plan``: layout, addresses, routes, and the numbers that the kernel is told. Pure.

With the plan of a running laboratory (``kept``) what has not changed keeps its addresses and numbers, so that ``apply``
leaves it alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from sampan.lab.addressing import Addressing
from sampan.lab.errors import TopologyError
from sampan.lab.layout import Jack, Layout, Wire, lay_out
from sampan.lab.plan import (
    FABRIC,
    FIRST_NUMBER,
    GENERATION_NUMBERS,
    Cable,
    Plan,
    PlannedBridge,
    PlannedInterface,
    PlannedNode,
    PlannedSubnet,
    Plug,
)
from sampan.lab.routing import Routing
from sampan.lab.topology import Node, Topology

NAME_MAX = 15


def plan(topology: Topology, kept: Plan | None = None) -> Plan:
    """Return the plan of a topology. Raises ``TopologyError`` with all that is wrong."""
    layout = lay_out(topology)
    if layout.problems:
        raise TopologyError(layout.problems)
    addressing = Addressing(topology, layout, kept)
    addressing.run()
    problems = [*addressing.problems, *_nat_problems(topology, layout)]
    if problems:
        raise TopologyError(problems)
    routing = Routing(topology, layout, addressing.networks, addressing.addresses)
    planning = _Planning(topology, layout, addressing, kept)
    nodes = {node.name: planning.node(node, routing) for node in topology.nodes}
    if routing.problems:
        raise TopologyError(routing.problems)
    subnets = {
        name: PlannedSubnet(name, networks, tuple((jack.node, jack.name) for jack in addressing.members[name]))
        for name, networks in addressing.networks.items()
    }
    bridges = {name: planning.bridge(name, subnet) for name, subnet in layout.bridges.items()}
    cables = {wire.name: planning.cable(wire) for wire in layout.wires}
    generation = kept.generation + 1 if kept else 1
    return Plan(topology.name, topology, subnets, bridges, cables, nodes, generation)


def _nat_problems(topology: Topology, layout: Layout) -> Iterator[str]:
    subnets = {(jack.node, jack.subnet) for jack in layout.jacks}
    for index, node in enumerate(topology.nodes):
        for number, name in enumerate(node.nat):
            path = f"nodes[{index}].nat[{number}]"
            if (node.name, name) not in subnets:
                yield f"{path}: node {node.name!r} is in no subnet {name!r}"
            elif not node.router:
                yield f"{path}: node {node.name!r} is no router (`router: true`)"


class _Numbers:
    """Numbers of links in one namespace."""

    def __init__(self, kept: Mapping[str, int], generation: int) -> None:
        self.kept = kept
        self.next = FIRST_NUMBER if generation == 1 else generation * GENERATION_NUMBERS

    def of(self, key: str) -> int:
        if key in self.kept:
            return self.kept[key]
        self.next += 1
        return self.next - 1


class _Planning:
    def __init__(self, topology: Topology, layout: Layout, addressing: Addressing, kept: Plan | None) -> None:
        self.topology = topology
        self.layout = layout
        self.addressing = addressing
        self.kept = kept
        self.jacks: dict[str, list[Jack]] = {node.name: [] for node in topology.nodes}
        for jack in layout.jacks:
            self.jacks[jack.node].append(jack)
        self.generation = kept.generation + 1 if kept else 1
        self.fabric = _Numbers(self.kept_ports(), self.generation)
        self.device_names: set[str] = set()
        self.plugs: dict[tuple[str, str], Plug] = {}

    def kept_ports(self) -> dict[str, int]:
        if self.kept is None:
            return {}
        numbers = {f"bridge {name}": bridge.number for name, bridge in self.kept.bridges.items()}
        for cable in self.kept.cables.values():
            for index, end in enumerate(cable.ends):
                if end.place == FABRIC:
                    numbers[f"port {cable.name} {index}"] = end.number
        return numbers

    def node(self, node: Node, routing: Routing) -> PlannedNode:
        before = self.kept.nodes.get(node.name) if self.kept else None
        numbers = _Numbers({one.name: one.number for one in before.interfaces} if before else {}, self.generation)
        interfaces = tuple(self.interface(jack, numbers) for jack in self.jacks[node.name])
        return PlannedNode(
            node.name,
            interfaces,
            routing.routes(node),
            node.router,
            tuple(one.name for one in interfaces if one.subnet in node.nat),
            node.run,
            node.files,
            node.env,
        )

    def interface(self, jack: Jack, numbers: _Numbers) -> PlannedInterface:
        mac = jack.declared.mac or self.mac(jack.node, jack.name)
        made = PlannedInterface(
            jack.node,
            jack.name,
            numbers.of(jack.name),
            mac,
            jack.declared.mtu,
            jack.subnet,
            self.addressing.addresses[jack.node, jack.name],
            jack.cable,
            jack.parent,
            jack.vlan,
            jack.path,
        )
        if not jack.parent:
            self.plugs[jack.node, jack.name] = Plug(jack.node, jack.name, made.number, mac, made.mtu)
        return made

    def bridge(self, name: str, subnet: str) -> PlannedBridge:
        mtu = max((jack.declared.mtu for jack in self.addressing.members[subnet]), default=1500)
        device = self.device_name(name)
        return PlannedBridge(device, self.fabric.of(f"bridge {name}"), self.mac("bridge", name), subnet, mtu)

    def cable(self, wire: Wire) -> Cable:
        one, other = wire.ends
        ends = (self.plug(wire, 0, one, other), self.plug(wire, 1, other, one))
        return Cable(wire.name, ends, wire.impairment)

    def plug(self, wire: Wire, index: int, end: Jack | str, other: Jack | str) -> Plug:
        if isinstance(end, Jack):
            return self.plugs[end.node, end.name]
        number = self.fabric.of(f"port {wire.name} {index}")
        name = self.device_name(f"{other.node}.{other.name}" if isinstance(other, Jack) else f"{end}.{other}")
        mtu = other.declared.mtu if isinstance(other, Jack) else 1500
        return Plug(FABRIC, name, number, self.mac("port", name), mtu, end)

    def device_name(self, wish: str) -> str:
        """Return a name for a device of the fabric: the wish where Linux takes it, else the beginning of it."""
        name = wish
        if len(name) > NAME_MAX or name in self.device_names:
            name = f"{wish[:8]}~{hashlib.sha256(wish.encode()).hexdigest()[:6]}"
        self.device_names.add(name)
        return name

    def mac(self, *names: str) -> str:
        """Return a hardware address that follows from names: locally administered, of one station (IEEE 802)."""
        digest = hashlib.sha256("/".join((self.topology.name, *names)).encode()).digest()
        return bytes([0x02, *digest[:5]]).hex(":")
