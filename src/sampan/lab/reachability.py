"""Who must reach whom: a packet and its answer are walked over the planned routes, as the kernel will send them.

A node answers for all its addresses on every interface (the kernel's weak host model), a node that is no router forwards
nothing, and what leaves a router by an interface with NAT leaves with that interface's address. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from sampan.lab.plan import Plan, PlannedNode
from sampan.network.families import Address

HOPS_MAX = 64
"""The kernel's time to live of a packet that says nothing."""


class Step(NamedTuple):
    """Where a node sends a packet: by which interface, to which address on it, from which if it says nothing."""

    interface: str
    next: int
    source: int


class Pair(NamedTuple):
    source: str
    target: str
    address: Address
    reachable: bool
    path: tuple[str, ...]
    """The nodes a packet passes, ``source`` first; it ends where the packet is dropped."""
    symmetric: bool
    """The answer comes from an address that is reached from there alike: the other way round is proved by it, too."""
    sent_from: Address | None
    back: tuple[str, ...] = ()
    """The nodes the answer passes."""


class _Table:
    """A node's routes of one family, the longest prefix first."""

    def __init__(self, node: PlannedNode, version: int) -> None:
        entries: list[tuple[int, int, int, Step]] = []
        width = 32 if version == 4 else 128
        source: dict[str, int] = {}
        self.own: set[int] = set()
        for one in node.interfaces:
            for address in one.addresses:
                if address.version != version:
                    continue
                source.setdefault(one.name, int(address.ip))
                self.own.add(int(address.ip))
                prefix = address.network.prefixlen
                mask = ((1 << prefix) - 1) << (width - prefix)
                step = Step(one.name, 0, source[one.name])
                entries.append((prefix, int(address.network.network_address), mask, step))
        for route in node.routes:
            if route.to.version == version:
                prefix = route.to.prefixlen
                mask = ((1 << prefix) - 1) << (width - prefix)
                step = Step(route.interface, int(route.via), source.get(route.interface, 0))
                entries.append((prefix, int(route.to.network_address), mask, step))
        # a stable sort: of equal prefixes the connected one counts
        self.entries = sorted(entries, key=lambda entry: -entry[0])
        self.source = source

    def step(self, target: int) -> Step | None:
        for _, network, mask, step in self.entries:
            if target & mask == network:
                return step if step.next else step._replace(next=target)
        return None


class Reachability:
    """Walks packets over a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tables = {(name, v): _Table(node, v) for name, node in plan.nodes.items() for v in (4, 6)}
        self.owners: dict[tuple[int, int], tuple[str, str]] = {}
        """(family, address) → (node, interface)."""
        self.subnet: dict[tuple[str, str], str] = {}
        for one in plan.interfaces():
            self.subnet[one.node, one.name] = one.subnet
            for address in one.addresses:
                self.owners[address.version, int(address.ip)] = (one.node, one.name)
        self.steps: dict[tuple[str, int, int], tuple[Step, str] | None] = {}
        self.translating = {(node.name, name) for node in plan.nodes.values() for name in node.nat}

    def asked(self) -> Iterator[tuple[str, str, Address]]:
        """Yield every node with every address of every other, of the families that it has itself."""
        addresses = {
            node.name: [address.ip for one in node.interfaces for address in one.addresses]
            for node in self.plan.nodes.values()
        }
        for source, own in addresses.items():
            families = {address.version for address in own}
            for target, others in addresses.items():
                if target != source:
                    for address in others:
                        if address.version in families:
                            yield source, target, address

    def pair(self, source: str, target: str, address: Address) -> Pair:
        version, number = address.version, int(address)
        first = self.step(source, version, number)
        if first is None:
            return Pair(source, target, address, False, (source,), False, None)
        sender = first[0].source
        translated: dict[tuple[str, int], int] = {}
        arrived, path, seen = self.walk(source, version, number, sender, translated, new=True)
        if not arrived:
            return Pair(source, target, address, False, path, False, _address(version, sender))
        back, way_back, _ = self.walk(path[-1], version, seen, number, translated, new=False)
        symmetric = False
        if back and not translated:
            reverse = self.step(target, version, sender)
            symmetric = reverse is not None and reverse[0].source == number
        return Pair(source, target, address, back, path, symmetric, _address(version, sender), way_back)

    def walk(
        self, node: str, version: int, target: int, sender: int, translated: dict[tuple[str, int], int], *, new: bool
    ) -> tuple[bool, tuple[str, ...], int]:
        """Return whether a packet arrives, which nodes it passes, and the sender's address as it arrives with."""
        path = [node]
        for _ in range(HOPS_MAX):
            if not new and (node, target) in translated:
                target = translated[node, target]
            if len(path) > 1 and target in self.tables[node, version].own:
                return True, tuple(path), sender
            if len(path) > 1 and not self.plan.nodes[node].router:
                return False, tuple(path), sender
            found = self.step(node, version, target)
            if found is None:
                return False, tuple(path), sender
            step, following = found
            if new and len(path) > 1 and (node, step.interface) in self.translating:
                translated[node, step.source] = sender
                sender = step.source
            if not following:
                return False, tuple(path), sender
            node = following
            path.append(node)
        return False, tuple(path), sender

    def step(self, node: str, version: int, target: int) -> tuple[Step, str] | None:
        """Return where a node sends what is for an address, and who takes it there; "" is nobody."""
        key = (node, version, target)
        if key not in self.steps:
            step = self.tables[node, version].step(target)
            following = ""
            if step is not None:
                owner = self.owners.get((version, step.next))
                if owner is not None and self.subnet[owner] == self.subnet[node, step.interface] and owner[0] != node:
                    following = owner[0]
            self.steps[key] = (step, following) if step else None
        return self.steps[key]


def _address(version: int, number: int) -> Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def every(plan: Plan) -> list[Pair]:
    """Return every node with every address of every other."""
    reachability = Reachability(plan)
    return [reachability.pair(*asked) for asked in reachability.asked()]


def covering(plan: Plan) -> list[Pair]:
    """Return pairs enough that every node is asked by every other, in each family, and every address by somebody.

    An echo and its answer prove both ways where the answer's way is that of an echo the other way round."""
    reachability = Reachability(plan)
    nodes: set[tuple[str, str, int]] = set()
    addresses: set[Address] = set()
    found: list[Pair] = []
    for source, target, address in reachability.asked():
        if (source, target, address.version) in nodes and address in addresses:
            continue
        pair = reachability.pair(source, target, address)
        nodes.add((source, target, address.version))
        addresses.add(address)
        if pair.symmetric and pair.sent_from is not None:
            nodes.add((target, source, address.version))
            addresses.add(pair.sent_from)
        found.append(pair)
    return found
