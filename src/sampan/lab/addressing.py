"""Ranges and addresses: what is declared is held to its range, the rest is given out.

Routers have a subnet's first addresses, in the order they are declared, then the other nodes. What a running laboratory has
stays as it is when its topology changes (``kept``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

from sampan.lab.layout import Jack, Layout
from sampan.lab.plan import InterfaceAddress, Plan
from sampan.lab.topology import Topology
from sampan.network.families import Address, Network

DEFAULT_POOLS: tuple[Network, ...] = (ip_network("10.64.0.0/10"),)
SUBNET_BITS, LINK_BITS, IPV6_BITS = 24, 30, 64
"""Prefix lengths of ranges that are planned; one of IPv4 is larger where its members need more."""

Addresses = dict[tuple[str, str], tuple[InterfaceAddress, ...]]
"""``(node, interface)`` → its addresses, IPv4 first."""


class Addressing:
    """Fills in ranges (``networks``) and addresses (``addresses``); ``problems`` is what does not fit."""

    def __init__(self, topology: Topology, layout: Layout, kept: Plan | None = None) -> None:
        self.topology = topology
        self.layout = layout
        self.kept = kept
        self.problems: list[str] = []
        self.networks: dict[str, tuple[Network, ...]] = {}
        self.addresses: Addresses = {}
        self.members: dict[str, list[Jack]] = {name: [] for name in layout.subnets}
        for jack in layout.jacks:
            self.members[jack.subnet].append(jack)

    def run(self) -> None:
        self.declared_ranges()
        self.planned_ranges()
        found: dict[tuple[str, str], list[InterfaceAddress]] = {
            (jack.node, jack.name): [] for jack in self.layout.jacks
        }
        for name, networks in self.networks.items():
            for network in networks:
                for key, address in self.given_out(name, network):
                    found[key].append(ip_interface(f"{address}/{network.prefixlen}"))
        for jack in self.layout.jacks:
            self.outside(jack)
        self.addresses = {key: tuple(addresses) for key, addresses in found.items()}

    # ranges

    def declared_ranges(self) -> None:
        spans: list[tuple[Network, str, str]] = []
        for index, subnet in enumerate(self.topology.subnets):
            self.networks[subnet.name] = tuple(sorted(subnet.networks, key=lambda network: network.version))
            for number, network in enumerate(subnet.networks):
                path = f"subnets[{index}].cidr" + (f"[{number}]" if len(subnet.networks) > 1 else "")
                spans.append((network, path, subnet.name))
        spans.sort(key=lambda span: (span[0].version, int(span[0].network_address), span[0].prefixlen))
        for (one, _, name), (other, path, _) in itertools.pairwise(spans):
            if one.version == other.version and one.overlaps(other):
                self.problems.append(f"{path}: {other} overlaps {one} of subnet {name!r}")
        for name in self.layout.subnets:
            self.networks.setdefault(name, ())

    def planned_ranges(self) -> None:
        pools = self.topology.pools or DEFAULT_POOLS
        taken: list[Network] = [network for networks in self.networks.values() for network in networks]
        kept = {} if self.kept is None else {name: subnet.networks for name, subnet in self.kept.subnets.items()}
        missing = [name for name, networks in self.networks.items() if not networks]
        for name in missing:
            if name in kept and self.fits_still(name, kept[name], pools, taken):
                self.networks[name] = kept[name]
                taken += kept[name]
        free = [_Ranges(pool, taken) for pool in pools]
        for name in missing:
            if self.networks[name]:
                continue
            for pool, ranges in zip(pools, free, strict=True):
                bits = self.bits(name, pool)
                network = ranges(bits)
                if network is None:
                    self.problems.append(f"pools: {pool} has no /{bits} left for subnet {name!r}")
                else:
                    self.networks[name] += (network,)

    def fits_still(
        self, name: str, kept: Sequence[Network], pools: Sequence[Network], taken: Sequence[Network]
    ) -> bool:
        """Whether ranges that a subnet had are what it would be given, or larger."""
        needed = {pool.version: self.bits(name, pool) for pool in pools}
        return (
            {network.version for network in kept} == needed.keys()
            and all(network.prefixlen <= needed[network.version] for network in kept)
            and not any(_overlap(one, other) for one in kept for other in taken)
        )

    def bits(self, name: str, pool: Network) -> int:
        members = len(self.members[name])
        if pool.version == 6:
            return max(IPV6_BITS, pool.prefixlen)
        link = name not in self.layout.bridges.values() and not self.layout.subnets[name].vlan
        bits = LINK_BITS if link else SUBNET_BITS
        while (1 << (32 - bits)) - 2 < members:
            bits -= 1
        return bits

    # addresses

    def given_out(self, name: str, network: Network) -> Iterator[tuple[tuple[str, str], Address]]:
        """Yield what each member of a subnet has, of one family, in the order of members."""
        owners: dict[int, str] = {}
        chosen: dict[tuple[str, str], int] = {}
        extra: list[tuple[tuple[str, str], Address]] = []
        for jack in self.members[name]:
            mine = [one for one in jack.declared.addresses if one.version == network.version]
            for number, address in enumerate(mine):
                if not self.fits(jack, address, network, name, owners):
                    continue
                if number == 0:
                    chosen[jack.node, jack.name] = int(address)
                else:
                    extra.append(((jack.node, jack.name), address))
        self.keep(name, network, owners, chosen)
        routers = {node.name for node in self.topology.nodes if node.router}
        waiting = [jack for jack in self.members[name] if (jack.node, jack.name) not in chosen]
        numbers = _hosts(network)
        for jack in sorted(waiting, key=lambda jack: jack.node not in routers):
            number = next((number for number in numbers if number not in owners), -1)
            if number < 0:
                self.problems.append(f"{jack.path}: {network} of subnet {name!r} is full")
                return
            owners[number] = jack.path
            chosen[jack.node, jack.name] = number
        kind = type(network.network_address)
        for jack in self.members[name]:
            if (jack.node, jack.name) in chosen:
                yield (jack.node, jack.name), kind(chosen[jack.node, jack.name])
        yield from extra

    def fits(self, jack: Jack, address: Address, network: Network, name: str, owners: dict[int, str]) -> bool:
        path = f"{jack.path}.address"
        if address not in network:
            self.problems.append(f"{path}: {address} is outside subnet {name!r} ({network})")
        elif network.prefixlen < network.max_prefixlen - 1 and address == network.network_address:
            self.problems.append(f"{path}: {address} is the address of the subnet {network} itself")
        elif network.version == 4 and network.prefixlen < 31 and address == network.broadcast_address:
            self.problems.append(f"{path}: {address} is the broadcast address of {network}")
        elif (owner := owners.setdefault(int(address), jack.path)) != jack.path:
            self.problems.append(f"{path}: {address} is {owner}'s already")
        else:
            return True
        return False

    def keep(self, name: str, network: Network, owners: dict[int, str], chosen: dict[tuple[str, str], int]) -> None:
        if self.kept is None:
            return
        for jack in self.members[name]:
            key = (jack.node, jack.name)
            node = self.kept.nodes.get(jack.node)
            before = next((one for one in node.interfaces if one.name == jack.name), None) if node else None
            if before is None or key in chosen or before.subnet != name:
                continue
            for address in before.addresses:
                if address.network == network and int(address.ip) not in owners:
                    owners[int(address.ip)] = jack.path
                    chosen[key] = int(address.ip)
                    break

    def outside(self, jack: Jack) -> None:
        """Addresses of a family that the subnet has no range of."""
        families = {network.version for network in self.networks[jack.subnet]}
        for address in jack.declared.addresses:
            if families and address.version not in families:
                has = " and ".join(str(network) for network in self.networks[jack.subnet])
                self.problems.append(f"{jack.path}.address: {address} is outside subnet {jack.subnet!r} ({has})")


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _hosts(network: Network) -> Iterator[int]:
    first, last = int(network.network_address), int(network.network_address) + network.num_addresses - 1
    if network.prefixlen < network.max_prefixlen - 1:
        first, last = first + 1, last - (network.version == 4)
    yield from range(first, last + 1)


class _Ranges:
    """Gives out ranges of a pool, each aligned to its size, around those that are taken."""

    def __init__(self, pool: Network, taken: Sequence[Network]) -> None:
        self.pool = pool
        self.next = int(pool.network_address)
        spans = [(int(one.network_address), one.num_addresses) for one in taken if one.version == pool.version]
        self.taken = sorted(spans)

    def __call__(self, bits: int) -> Network | None:
        size = 1 << (self.pool.max_prefixlen - bits)
        end = int(self.pool.network_address) + self.pool.num_addresses
        begin = -(-self.next // size) * size
        for start, length in self.taken:
            if start < begin + size and begin < start + length:
                begin = -(-(start + length) // size) * size
        if begin + size > end:
            return None
        self.next = begin + size
        return IPv4Network((begin, bits)) if self.pool.version == 4 else IPv6Network((begin, bits))
