"""Forget the connection tracking entries of UDP that go to endpoints which are no more.

A UDP "connection" lives as long as its client goes on sending, and would send to a dead pod for ever.
Source: linux/netfilter/nfnetlink_conntrack.h, pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sampan.network.families import FAMILIES, Family
from sampan.network.netlink import ACK, NESTED, ROOT_MATCH, attribute, attributes, message, round_trip
from sampan.network.service_endpoints import Endpoint
from sampan.network.services import Frontend

NETLINK_NETFILTER, SUBSYSTEM = 12, 1 << 8
GET, DELETE = SUBSYSTEM | 1, SUBSYSTEM | 2
TUPLE_ORIGINAL, TUPLE_REPLY, IDENTITY = 1, 2, 12
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


def entries(family: Family) -> Iterator[Entry]:
    """Yield the entries of this network namespace in one family."""
    for body in round_trip(NETLINK_NETFILTER, message(GET, ROOT_MATCH, header(family))):
        found = attributes(body[4:])
        original, reply = found.get(TUPLE_ORIGINAL, b""), found.get(TUPLE_REPLY, b"")
        to, answered_by = _parse(original, family), _parse(reply, family)
        if to and answered_by:
            yield Entry(to[0], to[2], answered_by[1], original, found.get(IDENTITY, b""))


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


def forget_stale(wanted: Mapping[Frontend, frozenset[Endpoint]], node_ips: frozenset[object] = frozenset()) -> int:
    """Delete UDP entries to the addresses of ``wanted`` that are answered by none of its endpoints; return how many.
    ``node_ips``: where ports of the node are reached."""
    count = 0
    for family in FAMILIES:
        for entry in list(entries(family)):
            if entry.protocol == socket.IPPROTO_UDP and _is_stale(entry, wanted, node_ips):
                body = header(family) + attribute(TUPLE_ORIGINAL | NESTED, entry.original)
                # one that ended meanwhile is as good as deleted
                request = message(DELETE, ACK, body + attribute(IDENTITY, entry.identity))
                round_trip(NETLINK_NETFILTER, request, missing_ok=True)
                count += 1
    return count


def _is_stale(entry: Entry, wanted: Mapping[Frontend, frozenset[Endpoint]], node_ips: frozenset[object]) -> bool:
    endpoints = wanted.get((entry.to.address, entry.to.port))
    if endpoints is None and entry.to.address in node_ips:
        endpoints = wanted.get((None, entry.to.port))
    return endpoints is not None and entry.answered_by not in endpoints
