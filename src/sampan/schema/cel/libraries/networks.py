"""IP addresses and ranges (Kubernetes' ip and cidr libraries, 1.30), parsed as strictly as Go's net/netip."""

from __future__ import annotations

import ipaddress
import re

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.values import Opaque

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Ip(Opaque):
    __slots__ = ("address",)
    type_name = "net.IP"

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def bytes_long(self) -> int:
        return self.address.max_prefixlen // 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ip) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)


class Cidr(Opaque):
    """An address with a prefix length; the bits after the prefix are kept."""

    __slots__ = ("network",)
    type_name = "net.CIDR"

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def bytes_long(self) -> int:
        return -(-self.network.network.prefixlen // 8)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and str(other.network) == str(self.network)

    def __hash__(self) -> int:
        return hash(self.network)


def _go_parse(text: str) -> Address:
    if "." not in text and ":" not in text:
        raise EvaluationError(f'ParseAddr("{text}"): unable to parse IP')
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(f'ParseAddr("{text}"): {_address_problem(text)}') from None


def _address_problem(text: str) -> str:
    if ":" in text:
        return "unable to parse IP" if not re.fullmatch(r"[0-9a-fA-F:.]+", text) else "address string too short"
    fields = text.split(".")
    if len(fields) < 4:
        return "IPv4 address too short" if all(field.isdigit() for field in fields) else "unexpected character"
    if len(fields) > 4:
        return "IPv4 address too long"
    for field in fields:
        if not field:
            return "IPv4 field must have at least one digit"
        if not field.isdigit():
            return "unexpected character"
        if len(field) > 1 and field.startswith("0"):
            return "IPv4 field has octet with leading zero"
    return "IPv4 field has value >255"


def _parse_ip(text: str) -> Ip:
    if "%" in text:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    try:
        address = _go_parse(text)
    except EvaluationError as error:
        message = f'IP Address "{text}" parse error during conversion from string: {error}'
        raise EvaluationError(message) from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(address)


def _parse_cidr(text: str) -> Cidr:
    before = "network address parse error during conversion from string: " * 2
    where = f'netip.ParsePrefix("{text}")'
    address_text, slash, bits = text.rpartition("/")
    if not slash:
        raise EvaluationError(f"{before}{where}: no '/'")
    if "%" in address_text:
        raise EvaluationError(f"{before}{where}: IPv6 zones cannot be present in a prefix")
    try:
        address = _go_parse(address_text)
    except EvaluationError as error:
        raise EvaluationError(f"{before}{where}: {error}") from None
    if not re.fullmatch(r"0|[1-9][0-9]*", bits):
        raise EvaluationError(f'{before}{where}: bad bits after slash: "{bits}"')
    if len(bits) > 3 or int(bits) > address.max_prefixlen:
        raise EvaluationError(f"{before}{where}: prefix length out of range")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Cidr(ipaddress.ip_interface(f"{address}/{bits}"))


def _is_ip(text: str) -> bool:
    try:
        _parse_ip(text)
    except EvaluationError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        _parse_cidr(text)
    except EvaluationError:
        return False
    return True


def _contains_ip(cidr: Cidr, ip: Ip) -> bool:
    return ip.address in cidr.network.network


def _contains_ip_text(cidr: Cidr, text: str) -> bool:
    try:
        return _contains_ip(cidr, _parse_ip(text))
    except EvaluationError:
        raise no_overload() from None  # what Kubernetes says of a text that is no address


def _contains_cidr(cidr: Cidr, other: Cidr) -> bool:
    mine, theirs = cidr.network.network, other.network.network
    return mine.version == theirs.version and mine.overlaps(theirs) and mine.prefixlen <= theirs.prefixlen


def _global_unicast(ip: Ip) -> bool:
    address = ip.address
    limited = isinstance(address, ipaddress.IPv4Address) and int(address) in (0, 2**32 - 1)
    return not (
        limited or address.is_unspecified or address.is_loopback or address.is_multicast or _link_local_unicast(ip)
    )


def _link_local_unicast(ip: Ip) -> bool:
    return ip.address.is_link_local


def _link_local_multicast(ip: Ip) -> bool:
    address = ip.address
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02


IPS = [
    overload("string_to_ip", "ip(string) -> IP", _parse_ip),
    overload("ip_family", "IP.family() -> int", lambda ip: ip.address.version),
    overload("ip_is_canonical", "ip.isCanonical(string) -> bool", lambda text: str(_parse_ip(text).address) == text),
    overload("ip_is_unspecified", "IP.isUnspecified() -> bool", lambda ip: ip.address.is_unspecified),
    overload("ip_is_loopback", "IP.isLoopback() -> bool", lambda ip: ip.address.is_loopback),
    overload("ip_is_link_local_multicast", "IP.isLinkLocalMulticast() -> bool", _link_local_multicast),
    overload("ip_is_link_local_unicast", "IP.isLinkLocalUnicast() -> bool", _link_local_unicast),
    overload("ip_is_global_unicast", "IP.isGlobalUnicast() -> bool", _global_unicast),
    overload("is_ip", "isIP(string) -> bool", _is_ip),
    overload("ip_to_string", "string(IP) -> string", lambda ip: str(ip.address)),
]
CIDRS = [
    overload("string_to_cidr", "cidr(string) -> CIDR", _parse_cidr),
    overload("cidr_contains_ip_string", "CIDR.containsIP(string) -> bool", _contains_ip_text),
    overload("cidr_contains_ip_ip", "CIDR.containsIP(IP) -> bool", _contains_ip),
    overload(
        "cidr_contains_cidr_string",
        "CIDR.containsCIDR(string) -> bool",
        lambda c, text: _contains_cidr(c, _parse_cidr(text)),
    ),
    overload("cidr_contains_cidr", "CIDR.containsCIDR(CIDR) -> bool", _contains_cidr),
    overload("cidr_ip", "CIDR.ip() -> IP", lambda cidr: Ip(cidr.network.ip)),
    overload("cidr_prefix_length", "CIDR.prefixLength() -> int", lambda cidr: cidr.network.network.prefixlen),
    overload("cidr_masked", "CIDR.masked() -> CIDR", lambda c: Cidr(ipaddress.ip_interface(str(c.network.network)))),
    overload("is_cidr", "isCIDR(string) -> bool", _is_cidr),
    overload("cidr_to_string", "string(CIDR) -> string", lambda cidr: str(cidr.network)),
]
