"""The two families of IP, and what each is called in nftables, netlink and the API."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AnyOf = TypeVar("AnyOf", Address, Network)


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    """As ``addressType`` and ``ipFamilies`` say it."""
    version: int
    af: int
    nft: str
    address_type: str
    size: int
    """Bytes of an address."""

    @property
    def anywhere(self) -> Network:
        """The destination of a default route."""
        return ipaddress.ip_network("0.0.0.0/0" if self.version == 4 else "::/0")


IPV4 = Family("IPv4", 4, socket.AF_INET, "ip", "ipv4_addr", 4)
IPV6 = Family("IPv6", 6, socket.AF_INET6, "ip6", "ipv6_addr", 16)
FAMILIES = (IPV4, IPV6)


def family_of(what: Address | Network) -> Family:
    return IPV4 if what.version == 4 else IPV6


def parse_address(text: object) -> Address | None:
    """Return an address, None for what is none. Old objects may hold IPv4 addresses inside IPv6: they are IPv4."""
    return _address(text) if isinstance(text, str) else None


@functools.lru_cache(1 << 14)
def _address(text: str) -> Address | None:
    """Endpoints are read anew with every change of their Service, and most are as before. At an agent's start all are new:
    what is written as IPv4 should be is read by the C library, at a third of the time."""
    try:
        return ipaddress.IPv4Address(socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        pass
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def parse_network(text: object) -> Network | None:
    """Return a range, None for what is none; spaces around it are let through, as the API does."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False) if isinstance(text, str) else None
    except ValueError:
        return None


def of_family(family: Family, listed: Iterable[AnyOf]) -> list[AnyOf]:
    return [one for one in listed if one.version == family.version]
