"""Connection tracking by netlink: the entries of this network namespace, and the end of one.

Who asks, and what for: ``service_flows`` (UDP to endpoints that are no more), ``policy_flows`` (what policies forbid now).
Source: linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from sampan.network.families import Address, Family
from sampan.network.netlink import ACK, NESTED, ROOT_MATCH, attribute, attributes, message, round_trip

NETLINK_NETFILTER, SUBSYSTEM = 12, 1 << 8
GET, DELETE = SUBSYSTEM | 1, SUBSYSTEM | 2
TUPLE_ORIGINAL, TUPLE_REPLY, IDENTITY, FILTER = 1, 2, 12, 25
FILTER_ORIGINAL, FILTER_REPLY = 1, 2
DESTINATION_GIVEN, PROTOCOL_GIVEN, DESTINATION_PORT_GIVEN = 1 << 1, 1 << 3, 1 << 5
TUPLE_IP, TUPLE_PROTOCOL = 1, 2
SOURCES, DESTINATIONS = {4: 1, 6: 3}, {4: 2, 6: 4}
"""The attributes of addresses, by the version of IP."""
PROTOCOL_NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3


class Way(NamedTuple):
    """The packets of one direction. Ports are 0 where the protocol has none."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int


class Entry(NamedTuple):
    protocol: int
    """As in the IP header: ``socket.IPPROTO_UDP``."""
    original: Way
    """As the client sends."""
    reply: Way
    """As answers come, before they are translated back: its source is whose they are."""
    key: bytes
    """What ``delete`` asks the kernel by."""


def header(family: Family) -> bytes:
    return struct.pack("=BBH", family.af, 0, 0)


def entries(family: Family) -> Iterator[Entry]:
    """Yield all entries of one family. Blocks."""
    return _asked(family, b"")


def udp_entries(family: Family, address: Address | None, port: int) -> Iterator[Entry]:
    """Yield the UDP entries whose clients sent to an address and port, or, without an address, to a port of anybody. The
    kernel chooses (Linux 5.8), as far as it can: the caller looks at each once more. Blocks."""
    flags = PROTOCOL_GIVEN | DESTINATION_PORT_GIVEN
    place = b""
    # of IPv6 the kernel (6.18 still) gives all but those that are to the address
    if address is not None and address.version == 4:
        flags |= DESTINATION_GIVEN
        place = attribute(TUPLE_IP | NESTED, attribute(DESTINATIONS[family.version], address.packed))
    ports = attribute(PROTOCOL_NUMBER, bytes([socket.IPPROTO_UDP]))
    ports += attribute(DESTINATION_PORT, port.to_bytes(2, "big"))
    tuple_ = attribute(TUPLE_ORIGINAL | NESTED, place + attribute(TUPLE_PROTOCOL | NESTED, ports))
    asked = attribute(FILTER_ORIGINAL, struct.pack("=I", flags)) + attribute(FILTER_REPLY, struct.pack("=I", 0))
    return _asked(family, tuple_ + attribute(FILTER | NESTED, asked))


def delete(some: Iterable[Entry]) -> None:
    """Have the kernel forget entries. Blocks. Raises ``NetlinkError``."""
    for entry in some:
        # one that ended meanwhile is as good as deleted
        round_trip(NETLINK_NETFILTER, message(DELETE, ACK, entry.key), missing_ok=True)


def _asked(family: Family, choice: bytes) -> Iterator[Entry]:
    for body in round_trip(NETLINK_NETFILTER, message(GET, ROOT_MATCH, header(family) + choice)):
        parts = attributes(body[4:])
        original, reply = _way(parts.get(TUPLE_ORIGINAL, b""), family), _way(parts.get(TUPLE_REPLY, b""), family)
        if original and reply:
            key = header(family) + attribute(TUPLE_ORIGINAL | NESTED, parts[TUPLE_ORIGINAL])
            if IDENTITY in parts:
                key += attribute(IDENTITY, parts[IDENTITY])
            yield Entry(original[0], original[1], reply[1], key)


def _way(data: bytes, family: Family) -> tuple[int, Way] | None:
    """Return the protocol and the way of a tuple; None for one without addresses."""
    parts = attributes(data)
    addresses, protocol = attributes(parts.get(TUPLE_IP, b"")), attributes(parts.get(TUPLE_PROTOCOL, b""))
    source, destination = (addresses.get(kinds[family.version]) for kinds in (SOURCES, DESTINATIONS))
    if not source or not destination or PROTOCOL_NUMBER not in protocol:
        return None
    ports = (int.from_bytes(protocol.get(kind, b""), "big") for kind in (SOURCE_PORT, DESTINATION_PORT))
    way = Way(ip_address(source), next(ports), ip_address(destination), next(ports))
    return protocol[PROTOCOL_NUMBER][0], way
