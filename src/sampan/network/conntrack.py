"""Forget the connection tracking entries of UDP that go to endpoints which are no more.

A UDP "connection" lives as long as its client goes on sending, and would send to a dead pod for ever.
Source: linux/netfilter/nfnetlink_conntrack.h, pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from sampan.network.families import FAMILIES, Address, Family
from sampan.network.netlink import ACK, NESTED, ROOT_MATCH, attribute, attributes, message, round_trip
from sampan.network.service_endpoints import Endpoint
from sampan.network.services import Frontend

NETLINK_NETFILTER, SUBSYSTEM = 12, 1 << 8
GET, DELETE = SUBSYSTEM | 1, SUBSYSTEM | 2
TUPLE_ORIGINAL, TUPLE_REPLY, IDENTITY, FILTER = 1, 2, 12, 25
FILTER_ORIGINAL, FILTER_REPLY = 1, 2
DESTINATION_GIVEN, PROTOCOL_GIVEN, DESTINATION_PORT_GIVEN = 1 << 1, 1 << 3, 1 << 5
TUPLE_IP, TUPLE_PROTOCOL = 1, 2
SOURCES, DESTINATIONS = {4: 1, 6: 3}, {4: 2, 6: 4}
"""The attributes of addresses, by the version of IP."""
PROTOCOL_NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3


class Entry(NamedTuple):
    protocol: int
    to: Endpoint
    """Where the client sent to."""
    answered_by: Endpoint
    original: bytes
    identity: bytes


def header(family: Family) -> bytes:
    return struct.pack("=BBH", family.af, 0, 0)


def entries(family: Family, to: Frontend) -> Iterator[Entry]:
    """Yield the UDP entries of this network namespace in one family whose clients sent to an address and port, or, without an
    address, to a port of anybody. The kernel chooses (Linux 5.8), as far as it can: the caller looks at each once more."""
    request = message(GET, ROOT_MATCH, header(family) + _choice(family, to))
    for body in round_trip(NETLINK_NETFILTER, request):
        found = attributes(body[4:])
        original, reply = found.get(TUPLE_ORIGINAL, b""), found.get(TUPLE_REPLY, b"")
        sent, answered_by = _parse(original, family), _parse(reply, family)
        if sent and answered_by:
            yield Entry(sent[0], sent[2], answered_by[1], original, found.get(IDENTITY, b""))


def _choice(family: Family, to: Frontend) -> bytes:
    address, port = to
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
    return tuple_ + attribute(FILTER | NESTED, asked)


def _parse(data: bytes, family: Family) -> tuple[int, Endpoint, Endpoint] | None:
    """Return protocol, source and destination of a tuple; None for one without ports."""
    parts = attributes(data)
    addresses, ports = attributes(parts.get(TUPLE_IP, b"")), attributes(parts.get(TUPLE_PROTOCOL, b""))
    source, destination = SOURCES[family.version], DESTINATIONS[family.version]
    if not {source, destination} <= addresses.keys() or not {SOURCE_PORT, DESTINATION_PORT} <= ports.keys():
        return None

    def end(address: int, port: int) -> Endpoint:
        return Endpoint(ipaddress.ip_address(addresses[address]), int.from_bytes(ports[port], "big"))

    return ports[PROTOCOL_NUMBER][0], end(source, SOURCE_PORT), end(destination, DESTINATION_PORT)


def forget_stale(
    wanted: Mapping[Frontend, frozenset[Endpoint]],
    node_ips: Collection[Address] = (),
    families: Iterable[Family] = FAMILIES,
) -> int:
    """Delete UDP entries to the addresses of ``wanted`` that are answered by none of its endpoints; return how many.
    ``node_ips``: where ports of the node are reached."""
    count = 0
    for family in families:
        for to, endpoints in wanted.items():
            if to[0] is not None and to[0].version != family.version:
                continue
            for entry in list(entries(family, to)):
                if _is_to(entry, to, node_ips) and entry.answered_by not in endpoints:
                    _delete(entry, family)
                    count += 1
    return count


def _is_to(entry: Entry, to: Frontend, node_ips: Collection[Address]) -> bool:
    address, port = to
    if entry.protocol != socket.IPPROTO_UDP or entry.to.port != port:
        return False
    return entry.to.address == address if address is not None else entry.to.address in node_ips


def _delete(entry: Entry, family: Family) -> None:
    body = header(family) + attribute(TUPLE_ORIGINAL | NESTED, entry.original) + attribute(IDENTITY, entry.identity)
    # one that ended meanwhile is as good as deleted
    round_trip(NETLINK_NETFILTER, message(DELETE, ACK, body), missing_ok=True)
