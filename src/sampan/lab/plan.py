"""What a laboratory is to be, to the last number: the value that everything else works from.

``planning.py`` makes it of a ``Topology``; ``fabric.py`` makes it real; ``reachability.py`` reads from it who must reach
whom. Interfaces of nodes have the numbers (``ifindex``) that they will have in their namespaces; bridges and their ports live
together in one namespace more, the *fabric*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from sampan.lab.topology import File, Impairment, Service, Topology
from sampan.network.families import Address, Network

FABRIC = ""
"""The place of bridges, where a node's name would stand."""
FIRST_NUMBER = 2
"""``lo`` is 1."""
GENERATION_NUMBERS = 1000
"""What is added to a running laboratory is numbered from the next thousand, away from what people made in a node."""

InterfaceAddress = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class PlannedInterface:
    node: str
    name: str
    number: int
    mac: str
    mtu: int
    subnet: str
    addresses: tuple[InterfaceAddress, ...]
    link: str
    """The cable it is an end of; of a VLAN the one of its parent."""
    parent: str = ""
    """The interface whose tagged frames it takes."""
    vlan: int = 0
    path: str = field(default="", compare=False)
    """Where the topology declares it."""


@dataclass(frozen=True, slots=True)
class Plug:
    """An end of a cable: an interface of a node, or a port of a bridge in the fabric."""

    place: str
    """The node's name, or ``FABRIC``."""
    name: str
    number: int
    mac: str
    mtu: int
    bridge: str = ""

    @property
    def shown(self) -> str:
        """What people call this end: the node, or the bridge."""
        return self.place or self.bridge


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair. A port comes first where one end is a bridge's."""

    name: str
    ends: tuple[Plug, Plug]
    impairment: Impairment = field(default=Impairment(), compare=False)


@dataclass(frozen=True, slots=True)
class PlannedBridge:
    name: str
    """The device's name in the fabric."""
    number: int
    mac: str
    subnet: str = field(compare=False)
    """What is spoken over it: to a bridge it is all the same."""
    mtu: int = field(default=1500, compare=False)


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    to: Network
    via: Address
    interface: str


@dataclass(frozen=True, slots=True)
class PlannedNode:
    name: str
    interfaces: tuple[PlannedInterface, ...]
    routes: tuple[PlannedRoute, ...]
    router: bool = False
    nat: tuple[str, ...] = ()
    """Interfaces: what leaves by them leaves with their address."""
    run: tuple[Service, ...] = ()
    files: tuple[File, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def interface(self, name: str) -> PlannedInterface:
        return next(one for one in self.interfaces if one.name == name)


@dataclass(frozen=True, slots=True)
class PlannedSubnet:
    name: str
    networks: tuple[Network, ...]
    members: tuple[tuple[str, str], ...]
    """``(node, interface)``, as declared."""


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    topology: Topology
    subnets: dict[str, PlannedSubnet]
    bridges: dict[str, PlannedBridge]
    cables: dict[str, Cable]
    nodes: dict[str, PlannedNode]
    generation: int = 1
    """How many plans this laboratory has had."""

    def interfaces(self) -> list[PlannedInterface]:
        return [interface for node in self.nodes.values() for interface in node.interfaces]

    def hosts(self) -> str:
        """Return ``/etc/hosts`` of every node: the names of all."""
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
        for node in self.nodes.values():
            lines += [f"{address.ip} {node.name}" for one in node.interfaces for address in one.addresses]
        return "\n".join([*lines, ""])
