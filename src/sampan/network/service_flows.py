"""Forget the connection tracking entries of UDP that go to endpoints which are no more.

A UDP "connection" lives as long as its client goes on sending, and would send to a dead pod for ever.
Source: pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Mapping

from sampan.network import conntrack
from sampan.network.conntrack import Entry
from sampan.network.families import FAMILIES, Address, Family
from sampan.network.service_endpoints import Endpoint
from sampan.network.services import Frontend


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
            stale = [
                entry
                for entry in conntrack.udp_entries(family, *to)
                if is_to(entry, to, node_ips) and Endpoint(entry.reply.source, entry.reply.source_port) not in endpoints
            ]
            conntrack.delete(stale)
            count += len(stale)
    return count


def is_to(entry: Entry, to: Frontend, node_ips: Collection[Address] = ()) -> bool:
    """Whether an entry is of UDP and its client sent to an address and port."""
    address, port = to
    sent_to = entry.original.destination
    if entry.protocol != socket.IPPROTO_UDP or entry.original.destination_port != port:
        return False
    return sent_to == address if address is not None else sent_to in node_ips
