"""Requests for links of many network namespaces from one netlink socket: both ends of a veth pair are made where they are to
be, with the numbers they are to have, so that addresses and routes can be asked for without looking anything up.

Source: linux/if_link.h, linux/neighbour.h, veth(4), drivers/net/veth.c, net/bridge/br_netlink.c, net/ipv4/devinet.c.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sampan.network.families import Address
from sampan.network.netlink import ACK, CREATE, EXCLUSIVE, NESTED, REPLACE, ROOT_MATCH, attribute, attributes, message
from sampan.network.route_netlink import (
    ADDR_GEN_MODE,
    ADDR_GEN_NONE,
    DELETE_LINK,
    GET_ADDRESS,
    GET_LINK,
    GET_ROUTE,
    IFA_NO_DAD,
    IFF_UP,
    IFLA,
    INFO_DATA,
    INFO_KIND,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_ROUTE,
    NEXTHOP_ONLINK,
    RTA_INTERFACE,
    VETH_PEER,
    Netlink,
)

IPV6 = Path("/proc/sys/net/ipv6")
"""Is not there where the kernel has no IPv6, or was told to have none (``ipv6.disable=1``)."""
NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
IFLA_LINK, IFLA_OPERATIONAL, IFLA_STATISTICS_64 = 5, 16, 23
VLAN_ID = 1
BRIDGE_MULTICAST_SNOOPING = 23
AF_INET_CONFIGURATION, FORWARDING, REVERSE_PATH_FILTER = 1, 1, 8
NEIGHBOUR_DESTINATION = 1
PROTOCOL_KERNEL, RTA_CACHE_INFORMATION = 2, 12
OPERATIONAL = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")


@dataclass(frozen=True, slots=True)
class End:
    """One end of a pair, or a bridge: where it is (a namespace's descriptor) and what it is there."""

    netns: int
    name: str
    number: int
    mac: str
    mtu: int = 1500
    master: int = 0
    """The number of the bridge whose port it is."""
    forwarding: bool | None = None
    """IPv4 forwarding of what comes in here; None leaves what the namespace has."""
    up: bool = True
    link_local: bool = False
    """Whether the kernel gives it an IPv6 link-local address (and talks by it)."""


def _header(number: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, 0, number, flags, change)


def _u32(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))


def family_settings(forwarding: bool | None, link_local: bool) -> bytes:
    """Return an ``IFLA_AF_SPEC`` for a link in its namespace; no file of /proc/sys is written."""
    body = b""
    if forwarding is not None:
        values = _u32(FORWARDING, int(forwarding)) + _u32(REVERSE_PATH_FILTER, 0)
        body += attribute(socket.AF_INET | NESTED, attribute(AF_INET_CONFIGURATION | NESTED, values))
    if not link_local and IPV6.exists():
        body += attribute(socket.AF_INET6 | NESTED, attribute(ADDR_GEN_MODE, bytes([ADDR_GEN_NONE])))
    return attribute(IFLA["af_spec"] | NESTED, body) if body else b""


def _described(end: End) -> bytes:
    body = _header(end.number, IFF_UP if end.up else 0, IFF_UP)
    body += attribute(IFLA["name"], end.name.encode() + b"\0") + _u32(IFLA["mtu"], end.mtu)
    body += attribute(IFLA["address"], bytes.fromhex(end.mac.replace(":", "")))
    return body + _u32(IFLA["netns_fd"], end.netns)


def _of_kind(kind: str, data: bytes = b"") -> bytes:
    body = attribute(INFO_KIND, kind.encode())
    return attribute(IFLA["info"] | NESTED, body + (attribute(INFO_DATA | NESTED, data) if data else b""))


def add_pair(one: End, other: End) -> bytes:
    """A veth pair. ``one`` may be up and the port of its master at once, which the kernel refuses ``other``; the rest is
    asked for in each end's namespace (``settle``)."""
    body = _described(one) + _of_kind("veth", attribute(VETH_PEER | NESTED, _described(other)))
    if one.master:
        body += _u32(IFLA["master"], one.master)
    return message(NEW_LINK, ACK | CREATE | EXCLUSIVE, body)


def add_bridge(end: End) -> bytes:
    """A bridge that floods multicast, as a plain switch does."""
    body = _described(end) + _of_kind("bridge", attribute(BRIDGE_MULTICAST_SNOOPING, b"\0"))
    return message(NEW_LINK, ACK | CREATE | EXCLUSIVE, body)


def add_vlan(name: str, number: int, parent: int, vlan: int, mac: str) -> bytes:
    """A link for the frames of ``parent`` with an 802.1Q tag, both in the socket's namespace."""
    body = _header(number) + attribute(IFLA["name"], name.encode() + b"\0") + _u32(IFLA_LINK, parent)
    body += attribute(IFLA["address"], bytes.fromhex(mac.replace(":", "")))
    body += _of_kind("vlan", attribute(VLAN_ID, struct.pack("=H", vlan)))
    return message(NEW_LINK, ACK | CREATE | EXCLUSIVE, body)


def settle(end: End) -> list[bytes]:
    """What a link's own namespace is asked for: settings first, because a link that is up talks."""
    settings = family_settings(end.forwarding, end.link_local)
    first = [set_settings(end.number, settings)] if settings else []
    return [*first, set_state(end.number, up=True)]


def set_state(number: int, *, up: bool) -> bytes:
    return message(NEW_LINK, ACK, _header(number, IFF_UP if up else 0, IFF_UP))


def set_master(number: int, master: int) -> bytes:
    """Make a link a bridge's port, and up."""
    return message(NEW_LINK, ACK, _header(number, IFF_UP, IFF_UP) + _u32(IFLA["master"], master))


def set_settings(number: int, settings: bytes) -> bytes:
    """Give a link the settings of ``family_settings``."""
    return message(NEW_LINK, ACK, _header(number) + settings)


def move(number: int, netns: int) -> bytes:
    """Put a link into another namespace, where it is down and without addresses."""
    return message(NEW_LINK, ACK, _header(number) + _u32(IFLA["netns_fd"], netns))


def delete(number: int) -> bytes:
    return message(DELETE_LINK, ACK, _header(number))


def forget_neighbour(number: int, address: Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=BxxxiHBB", family, number, 0, 0, 0) + attribute(NEIGHBOUR_DESTINATION, address.packed)
    return message(DELETE_NEIGHBOUR, ACK, body)


class Traffic(NamedTuple):
    """A link and what went through it."""

    number: int
    name: str
    operational: str
    """``up``, ``down``, ``lowerlayerdown``, … (RFC 2863)"""
    received_packets: int
    sent_packets: int
    received_bytes: int
    sent_bytes: int


def traffic(netlink: Netlink) -> list[Traffic]:
    """Return the links of a socket's namespace with their counters."""
    found = []
    for body in netlink.dump(message(GET_LINK, ROOT_MATCH, _header())):
        parts = attributes(body[16:])
        number = struct.unpack_from("=i", body, 4)[0]
        name = parts[IFLA["name"]].rstrip(b"\0").decode()
        state = OPERATIONAL[parts.get(IFLA_OPERATIONAL, b"\0")[0]]
        counters = struct.unpack_from("=4Q", parts.get(IFLA_STATISTICS_64, bytes(32)))
        found.append(Traffic(number, name, state, *counters))
    return found


def kept_by(channel: Netlink, index: int) -> list[bytes]:
    """Return requests that put back a link's routes and IPv6 addresses after it was down, as they are now."""
    found = []
    for body in channel.dump(message(GET_ADDRESS, ROOT_MATCH, struct.pack("=BBBBi", socket.AF_INET6, 0, 0, 0, 0))):
        if struct.unpack_from("=i", body, 4)[0] == index:
            flags = bytes([body[2] | IFA_NO_DAD])
            found.append(message(NEW_ADDRESS, ACK | CREATE | REPLACE, body[:2] + flags + body[3:8] + body[8:]))
    routes = []
    for family in (socket.AF_INET, socket.AF_INET6):
        header = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in channel.dump(message(GET_ROUTE, ROOT_MATCH, header)):
            parts = attributes(body[12:])
            # the kernel makes those of addresses itself
            if body[5] != PROTOCOL_KERNEL and int.from_bytes(parts.get(RTA_INTERFACE, b"\0"), "little") == index:
                routes.append(message(NEW_ROUTE, ACK | CREATE | REPLACE, _asked_again(body, parts)))
    return found + routes


def _asked_again(body: bytes, parts: dict[int, bytes]) -> bytes:
    """Return a dumped route without what is only told (flags of its state, cache information)."""
    told = body[:8] + struct.pack("=I", int.from_bytes(body[8:12], "little") & NEXTHOP_ONLINK)
    return told + b"".join(attribute(kind, value) for kind, value in parts.items() if kind != RTA_CACHE_INFORMATION)
