"""Route netlink in a few tables of facts: links, addresses, routes, of any network namespace, IPv4 and IPv6.

Requests are bytes made by the functions below; ``Netlink`` has them carried out, and reads what there is.
Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from sampan.network.families import IPV4, Address, Family, Network
from sampan.network.netlink import (
    ACK,
    CREATE,
    ERROR,
    EXCLUSIVE,
    NESTED,
    REPLACE,
    ROOT_MATCH,
    Conversation,
    attribute,
    attributes,
    message,
    messages,
    refusal,
)

AF_UNSPEC, AF_BRIDGE = 0, 7

NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26

IFLA = {
    "address": 1,
    "name": 3,
    "mtu": 4,
    "master": 10,
    "info": 18,
    "alias": 20,
    "af_spec": 26,
    "netns_fd": 28,
    "port": 12,
}
INFO_KIND, INFO_DATA, VETH_PEER = 1, 2, 1
PORT_HAIRPIN = 4
ADDR_GEN_MODE, ADDR_GEN_NONE = 8, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_NO_DAD = 2
RTA_DESTINATION, RTA_INTERFACE, RTA_GATEWAY, RTA_SOURCE = 1, 4, 5, 7
IFF_UP = 1
TABLE_MAIN, PROTOCOL_STATIC, ROUTE_UNICAST = 254, 4, 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
NEXTHOP_ONLINK = 4


class Link(NamedTuple):
    number: int
    name: str
    flags: int
    mac: str
    mtu: int
    master: int
    alias: str = ""
    """Free text, for who looks at the kernel."""


class Route(NamedTuple):
    """``destination`` is 0.0.0.0/0 or ::/0 for a default route."""

    destination: Network
    interface: int
    gateway: Address | None


# requests


def _integer(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _link_header(index: int = 0, flags: int = 0, change: int = 0, family: int = AF_UNSPEC) -> bytes:
    return struct.pack("=BxHiII", family, 0, index, flags, change)


def add_veth(
    name: str, peer: str, netns: int, *, mac: str = "", peer_mac: str = "", mtu: int = 1500, master: int = 0
) -> bytes:
    """A veth pair: ``name`` here and up, ``peer`` in the namespace of the descriptor ``netns`` and still down."""
    inside = _link_header() + _text(IFLA["name"], peer) + _integer(IFLA["mtu"], mtu)
    inside += _integer(IFLA["netns_fd"], netns)
    if peer_mac:
        inside += attribute(IFLA["address"], _mac(peer_mac))
    info = attribute(INFO_KIND, b"veth") + attribute(INFO_DATA | NESTED, attribute(VETH_PEER | NESTED, inside))
    body = _link_header(0, IFF_UP, IFF_UP) + _text(IFLA["name"], name) + _integer(IFLA["mtu"], mtu)
    if mac:
        body += attribute(IFLA["address"], _mac(mac))
    if master:
        body += _integer(IFLA["master"], master)
    return message(NEW_LINK, ACK | CREATE | EXCLUSIVE, body + attribute(IFLA["info"] | NESTED, info))


def add_bridge(name: str, mac: str, mtu: int) -> bytes:
    """A bridge, up. Its address is given, because a bridge would else take that of a port and change it with them."""
    body = _link_header(0, IFF_UP, IFF_UP) + _text(IFLA["name"], name) + _integer(IFLA["mtu"], mtu)
    body += attribute(IFLA["address"], _mac(mac)) + attribute(IFLA["info"] | NESTED, attribute(INFO_KIND, b"bridge"))
    return message(NEW_LINK, ACK | CREATE | EXCLUSIVE, body)


def set_up(name: str) -> bytes:
    return message(NEW_LINK, ACK, _link_header(0, IFF_UP, IFF_UP) + _text(IFLA["name"], name))


def set_alias(name: str, alias: str) -> bytes:
    """A text of at most 255 bytes that the kernel keeps with a link."""
    text = attribute(IFLA["alias"], alias.encode()[:255])
    return message(NEW_LINK, ACK, _link_header() + _text(IFLA["name"], name) + text)


def no_ipv6_address(name: str) -> bytes:
    """Have the kernel give the link no link-local address, and so send no neighbour or multicast chatter."""
    mode = attribute(socket.AF_INET6 | NESTED, attribute(ADDR_GEN_MODE, bytes([ADDR_GEN_NONE])))
    return message(
        NEW_LINK, ACK, _link_header() + _text(IFLA["name"], name) + attribute(IFLA["af_spec"] | NESTED, mode)
    )


def hairpin(index: int) -> bytes:
    """Let a bridge send a frame back through the port it came by."""
    port = attribute(IFLA["port"] | NESTED, attribute(PORT_HAIRPIN, b"\1"))
    return message(SET_LINK, ACK, _link_header(index, family=AF_BRIDGE) + port)


def delete_link(name: str) -> bytes:
    return message(DELETE_LINK, ACK, _link_header() + _text(IFLA["name"], name))


def get_link(name: str) -> bytes:
    return message(GET_LINK, 0, _link_header() + _text(IFLA["name"], name))


def _family(of: Address | Network) -> int:
    return socket.AF_INET if of.version == 4 else socket.AF_INET6


def _address(index: int, address: Address, prefix_length: int) -> bytes:
    flags = IFA_NO_DAD if address.version == 6 else 0
    header = struct.pack("=BBBBi", _family(address), prefix_length, flags, SCOPE_UNIVERSE, index)
    return header + attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)


def add_address(index: int, address: Address, prefix_length: int) -> bytes:
    """An address of a link. One of IPv6 is usable at once: who gives it out knows that it is nobody else's."""
    return message(NEW_ADDRESS, ACK | CREATE | REPLACE, _address(index, address, prefix_length))


def delete_address(index: int, address: Address, prefix_length: int) -> bytes:
    return message(DELETE_ADDRESS, ACK, _address(index, address, prefix_length))


def _route(
    destination: Network, interface: int, gateway: Address | None, source: Address | None, *, onlink: bool
) -> bytes:
    # IPv6 has no scopes of routes
    scope = SCOPE_UNIVERSE if gateway or destination.version == 6 else SCOPE_LINK
    header = struct.pack(
        "=BBBBBBBBI",
        _family(destination),
        destination.prefixlen,
        0,
        0,
        TABLE_MAIN,
        PROTOCOL_STATIC,
        scope,
        ROUTE_UNICAST,
        NEXTHOP_ONLINK if onlink else 0,
    )
    body = header + _integer(RTA_INTERFACE, interface)
    if destination.prefixlen:
        body += attribute(RTA_DESTINATION, destination.network_address.packed)
    if gateway:
        body += attribute(RTA_GATEWAY, gateway.packed)
    if source:
        body += attribute(RTA_SOURCE, source.packed)
    return body


def add_route(
    destination: Network,
    interface: int,
    gateway: Address | None = None,
    source: Address | None = None,
    *,
    onlink: bool = False,
) -> bytes:
    """A route of the main table, in place of one that is there; ``source`` is what packets come from that say nothing."""
    body = _route(destination, interface, gateway, source, onlink=onlink)
    return message(NEW_ROUTE, ACK | CREATE | REPLACE, body)


def delete_route(destination: Network, interface: int, gateway: Address | None = None) -> bytes:
    return message(DELETE_ROUTE, ACK, _route(destination, interface, gateway, None, onlink=False))


# answers


def _link(body: bytes) -> Link:
    index, flags = struct.unpack_from("=iI", body, 4)
    found = attributes(body[16:])

    def number(name: str) -> int:
        return int.from_bytes(found.get(IFLA[name], b"\0"), "little")

    name = found[IFLA["name"]].rstrip(b"\0").decode()
    alias = found.get(IFLA["alias"], b"").rstrip(b"\0").decode(errors="replace")
    return Link(index, name, flags, found.get(IFLA["address"], b"").hex(":"), number("mtu"), number("master"), alias)


class Netlink(Conversation):
    """A route netlink socket of this network namespace, or of the descriptor's."""

    def __init__(self, netns: int = -1) -> None:
        super().__init__(socket.NETLINK_ROUTE, netns)

    def link(self, name: str) -> Link | None:
        """Return a link by its name, or None."""
        self._socket.send(get_link(name))
        for kind, _, body in messages(self._socket.recv(65536)):
            if kind != ERROR:
                return _link(body)
            problem = refusal(body)
            if problem and problem.errno != errno.ENODEV:
                raise problem
        return None

    def links(self) -> list[Link]:
        return [_link(body) for body in self.dump(message(GET_LINK, ROOT_MATCH, _link_header()))]

    def addresses(self, index: int) -> list[Address]:
        """Return the addresses of a link."""
        return [address for number, address in self._addresses() if number == index]

    def all_addresses(self) -> list[Address]:
        """Return the addresses of all links."""
        return [address for _, address in self._addresses()]

    def _addresses(self) -> Iterator[tuple[int, Address]]:
        for body in self.dump(message(GET_ADDRESS, ROOT_MATCH, struct.pack("=BBBBi", AF_UNSPEC, 0, 0, 0, 0))):
            parts = attributes(body[8:])
            if packed := parts.get(IFA_LOCAL) or parts.get(IFA_ADDRESS):
                yield struct.unpack_from("=i", body, 4)[0], ip_address(packed)

    def routes(self, family: Family = IPV4) -> list[Route]:
        """Return the routes of the main table in one family; none where the kernel has not got the family."""
        header = struct.pack("=BBBBBBBBI", family.af, 0, 0, 0, TABLE_MAIN, 0, 0, 0, 0)
        found = []
        for body in self.dump(message(GET_ROUTE, ROOT_MATCH, header)):
            if body[0] != family.af or body[4] != TABLE_MAIN or body[7] != ROUTE_UNICAST:
                continue
            parts = attributes(body[12:])
            packed = parts.get(RTA_DESTINATION, bytes(family.size))
            destination: Network
            if family.version == 4:
                destination = IPv4Network((packed, body[1]), strict=False)
            else:
                destination = IPv6Network((packed, body[1]), strict=False)
            interface = int.from_bytes(parts.get(RTA_INTERFACE, b"\0"), "little")
            gateway = ip_address(parts[RTA_GATEWAY]) if RTA_GATEWAY in parts else None
            found.append(Route(destination, interface, gateway))
        return found
