"""A laboratory as its author declares it: subnets, bridges, nodes with their interfaces, links. Nothing is filled in.

``reading.py`` makes it from YAML or keywords, ``plan.py`` makes of it what is to be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.network.families import Address, Network

RATE_MAX_BITS, DELAY_MAX_SECONDS = 10**15, 3600
"""What a link's queues and filters can be told in their 64 bits, with room."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a link does to what it carries, both ways."""

    loss_percent: float = 0
    rate_bits: int = 0
    """Bits per second; 0 is no limit."""
    delay_seconds: float = 0
    jitter_seconds: float = 0

    def __bool__(self) -> bool:
        return bool(self.loss_percent or self.rate_bits or self.delay_seconds or self.jitter_seconds)


@dataclass(frozen=True, slots=True)
class Subnet:
    name: str
    networks: tuple[Network, ...] = ()
    """One a family; those that are missing are planned."""
    vlan: int = 0
    over: str = ""
    """The subnet whose frames carry this one's, tagged with ``vlan``."""


@dataclass(frozen=True, slots=True)
class Bridge:
    name: str
    subnet: str


@dataclass(frozen=True, slots=True)
class Interface:
    """A node's end of a link: to a bridge of ``subnet``, or of the link that says so."""

    subnet: str = ""
    name: str = ""
    addresses: tuple[Address, ...] = ()
    mac: str = ""
    mtu: int = 1500
    bridge: str = ""
    link: str = ""
    impairment: Impairment = Impairment()


@dataclass(frozen=True, slots=True)
class Route:
    to: Network
    via: Address


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs in a node from ``up`` on."""

    command: tuple[str, ...]
    listens: int = 0
    """The TCP port at which it answers once it is ready."""


@dataclass(frozen=True, slots=True)
class File:
    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    interfaces: tuple[Interface, ...] = ()
    router: bool = False
    nat: tuple[str, ...] = ()
    """Subnets that see what comes from elsewhere with the router's own address."""
    routes: tuple[Route, ...] = ()
    planned_routes: bool = True
    run: tuple[Service, ...] = ()
    files: tuple[File, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """A node (with the interface to be made there) or a bridge."""

    name: str
    interface: Interface = Interface()


@dataclass(frozen=True, slots=True)
class Link:
    """A cable: between nodes it is a subnet of its own, between bridges it joins them."""

    ends: tuple[LinkEnd, LinkEnd]
    name: str = ""
    subnet: str = ""
    impairment: Impairment = Impairment()


@dataclass(frozen=True, slots=True)
class Topology:
    name: str = "lab"
    pools: tuple[Network, ...] = ()
    """Where ranges are taken from that nobody names."""
    subnets: tuple[Subnet, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()
    source: str = field(default="", compare=False)
    """The file it was read from."""
