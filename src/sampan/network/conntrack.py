"""Forget the connection tracking entries of UDP that go to endpoints which are no more.

A UDP "connection" lives as long as its client goes on sending, and would send to a dead pod for ever.
Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from sampan.network.netlink import ACK, NESTED, ROOT_MATCH, attribute, attributes, message, round_trip
from sampan.network.services import Endpoint

NETLINK_NETFILTER, SUBSYSTEM = 12, 1 << 8
GET, DELETE = SUBSYSTEM | 1, SUBSYSTEM | 2
TUPLE_ORIGINAL, TUPLE_REPLY, IDENTITY = 1, 2, 12
TUPLE_IP, TUPLE_PROTOCOL = 1, 2
SOURCE, DESTINATION = 1, 2
PROTOCOL_NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3
HEADER = struct.pack("=BBH", socket.AF_INET, 0, 0)


class Entry(NamedTuple):
    protocol: int
    to: Endpoint
    """Where the client sent to."""
    answered_by: Endpoint
    original: bytes
    identity: bytes


def entries() -> Iterator[Entry]:
    """Yield the IPv4 entries of this network namespace."""
    for body in round_trip(NETLINK_NETFILTER, message(GET, ROOT_MATCH, HEADER)):
        found = attributes(body[4:])
        original, reply = found.get(TUPLE_ORIGINAL, b""), found.get(TUPLE_REPLY, b"")
        to, answered_by = _parse(original), _parse(reply)
        if to and answered_by:
            yield Entry(to[0], to[2], answered_by[1], original, found.get(IDENTITY, b""))


def _parse(data: bytes) -> tuple[int, Endpoint, Endpoint] | None:
    """Return protocol, source and destination of a tuple; None for one without ports."""
    parts = attributes(data)
    addresses, ports = attributes(parts.get(TUPLE_IP, b"")), attributes(parts.get(TUPLE_PROTOCOL, b""))
    if not {SOURCE, DESTINATION} <= addresses.keys() or not {SOURCE_PORT, DESTINATION_PORT} <= ports.keys():
        return None
    source = Endpoint(IPv4Address(addresses[SOURCE]), int.from_bytes(ports[SOURCE_PORT], "big"))
    destination = Endpoint(IPv4Address(addresses[DESTINATION]), int.from_bytes(ports[DESTINATION_PORT], "big"))
    return ports[PROTOCOL_NUMBER][0], source, destination


def forget_stale(wanted: Mapping[tuple[str, int], frozenset[Endpoint]]) -> int:
    """Delete UDP entries to the addresses of ``wanted`` that are answered by none of its endpoints; return how many."""
    stale = [
        entry
        for entry in entries()
        if entry.protocol == socket.IPPROTO_UDP
        and (endpoints := wanted.get((str(entry.to.address), entry.to.port))) is not None
        and entry.answered_by not in endpoints
    ]
    for entry in stale:
        body = HEADER + attribute(TUPLE_ORIGINAL | NESTED, entry.original) + attribute(IDENTITY, entry.identity)
        # one that ended meanwhile is as good as deleted
        round_trip(NETLINK_NETFILTER, message(DELETE, ACK, body), missing_ok=True)
    return len(stale)
