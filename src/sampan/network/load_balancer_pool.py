"""Which addresses of the pools which LoadBalancer Services have: one of each of their families.

Services may share an address when they say so with the same key and no port of one is a port of another. Which address
is whose stands in the Services' status only; ``Pool`` is what has been read off it since the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sampan.network.families import FAMILIES, Address, Family, Network, parse_address
from sampan.schema.objects import Object

LOAD_BALANCER_CLASS = "sampan.dev/load-balancer"
"""What a Service may name as its ``loadBalancerClass`` to have an address of ours for certain."""
IPS = ("sampan.dev/load-balancer-ips", "metallb.io/loadBalancerIPs")
"""Annotations that ask for addresses, one of each family, with a comma between; the names of others are understood."""
SHARING = ("sampan.dev/allow-shared-ip", "metallb.io/allow-shared-ip")
"""Annotations with the key of those who may share an address."""


class Refused(Exception):
    """A Service cannot have an address; the message says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Service asks of the pools."""

    owner: str
    families: tuple[Family, ...]
    wanted: tuple[Address, ...] = ()
    sharing_key: str = ""
    ports: frozenset[tuple[str, int]] = frozenset()

    def can_share(self, other: Claim) -> bool:
        same = bool(self.sharing_key) and self.sharing_key == other.sharing_key
        return same and not self.ports & other.ports


def claim_of(owner: str, service: Object) -> Claim:
    """Return what a Service asks for. Raises ``Refused`` for what cannot be meant."""
    spec, annotations = service["spec"], service["metadata"].get("annotations") or {}
    named = next((annotations[name] for name in IPS if annotations.get(name)), "") or spec.get("loadBalancerIP") or ""
    wanted: list[Address] = []
    for text in filter(None, (part.strip() for part in named.split(","))):
        address = parse_address(text)
        if address is None:
            raise Refused(f"{text!r} is not an IP address")
        if any(address.version == other.version for other in wanted):
            raise Refused(f"{named!r} names two addresses of one family")
        wanted.append(address)
    families = [family for name in spec.get("ipFamilies") or ("IPv4",) for family in FAMILIES if family.name == name]
    for address in wanted:
        if all(address.version != family.version for family in families):
            raise Refused(
                f"{address} is not of {' or '.join(family.name for family in families)}, the Service's families"
            )
    return Claim(
        owner,
        tuple(families),
        tuple(wanted),
        next((annotations[name] for name in SHARING if annotations.get(name)), ""),
        frozenset((port.get("protocol") or "TCP", int(port["port"])) for port in spec.get("ports") or ()),
    )


def assigned(service: Object) -> list[Address]:
    """Return the addresses of the status."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [address for entry in ingress if (address := parse_address(entry.get("ip"))) is not None]


class Pool:
    """The addresses of some ranges, without the first and the last of each, and who has them."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = tuple(networks)
        self._holders: dict[Address, dict[str, Claim]] = {}
        self._owned: dict[str, list[Address]] = {}
        self._next: dict[Network, int] = {}

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def of(self, owner: str) -> list[Address]:
        return list(self._owned.get(owner, ()))

    def release(self, owner: str) -> bool:
        """Take back what an owner has; return whether it had something."""
        had = self._owned.pop(owner, [])
        for address in had:
            del self._holders[address][owner]
            if not self._holders[address]:
                del self._holders[address]
        return bool(had)

    def take(self, claim: Claim, held: Iterable[Address] = ()) -> list[Address]:
        """Give a Service its addresses: the wanted ones, those that it holds already, else free ones. Raises ``Refused``;
        then it has none."""
        kept = [*held, *self.of(claim.owner)]
        self.release(claim.owner)
        found: list[Address] = []
        for family in claim.families:
            wanted = next((one for one in claim.wanted if one.version == family.version), None)
            if not any(network.version == family.version for network in self.networks):
                if wanted is not None:
                    raise Refused(f"{wanted} is not an address of {self._ranges()}")
                continue
            found.append(wanted if wanted is not None else self._find(claim, family, kept))
            if wanted is not None:
                self._check(claim, wanted)
        if not found:
            raise Refused(f"no range of {' or '.join(family.name for family in claim.families)} in {self._ranges()}")
        for address in found:
            self._holders.setdefault(address, {})[claim.owner] = claim
        self._owned[claim.owner] = list(found)
        return found

    def _check(self, claim: Claim, address: Address) -> None:
        if not self._usable(address):
            raise Refused(f"{address} is not an address of {self._ranges()}")
        for other in self._holders.get(address, {}).values():
            if not claim.can_share(other):
                why = "shares its address with nobody" if not other.sharing_key else "has another sharing key"
                if other.sharing_key and other.sharing_key == claim.sharing_key:
                    why = "has the same port"
                raise Refused(f"{address} is not free: {other.owner} {why}")

    def _find(self, claim: Claim, family: Family, kept: list[Address]) -> Address:
        for address in kept:
            if address.version == family.version and self._usable(address) and self._free(claim, address):
                return address
        if claim.sharing_key:
            for address, holders in self._holders.items():
                if address.version == family.version and holders and self._free(claim, address):
                    return address
        for network in self.networks:
            if network.version == family.version and (found := self._free_in(network)) is not None:
                return found
        raise Refused(f"every address of {self._ranges(family)} is given out")

    def _free(self, claim: Claim, address: Address) -> bool:
        return all(claim.can_share(other) for other in self._holders.get(address, {}).values())

    def _free_in(self, network: Network) -> Address | None:
        """Return a free address, in turn, so that one given back is not soon somebody else's."""
        size = network.num_addresses
        start = self._next.get(network, 0)
        for step in range(min(size, len(self._holders) + 3)):
            offset = (start + step) % size
            address = network[offset]
            if address not in self._holders and self._usable(address):
                self._next[network] = offset + 1
                return address
        return None

    def _usable(self, address: Address) -> bool:
        """Whether an address is in a range, and not the network's own or broadcast address."""
        for network in self.networks:
            if address in network:
                edges = (network.network_address, network.broadcast_address)
                return network.num_addresses <= 2 or address not in edges
        return False

    def _ranges(self, family: Family | None = None) -> str:
        return ", ".join(str(one) for one in self.networks if family is None or one.version == family.version)
