"""Forget the connections that policies no longer allow.

A client's packets are asked about each time, so nothing more of it comes through once a policy forbids it; answers are let
through by connection tracking. Forgetting the connection ends these, too (a UDP server that goes on sending, say).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from sampan.network.families import Address
from sampan.network.netlink import (
    ACK,
    GET_ADDRESS,
    IFA_ADDRESS,
    IFA_LOCAL,
    NESTED,
    ROOT_MATCH,
    Netlink,
    attribute,
    attributes,
    message,
    round_trip,
)
from sampan.network.policy_state import PolicyState
from sampan.network.policy_verdict import Connection, Party, verdicts

logger = logging.getLogger("sampan.network")

NETLINK_NETFILTER, SUBSYSTEM = 12, 1 << 8
GET, DELETE = SUBSYSTEM | 1, SUBSYSTEM | 2
ORIGINAL, REPLY, IDENTITY = 1, 2, 12
ADDRESSES, PROTOCOL = 1, 2
IPV4_SOURCE, IPV6_SOURCE = 1, 3
NUMBER, SOURCE_PORT = 1, 2
FAMILIES = (socket.AF_INET, socket.AF_INET6)
NAMES = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", 132: "sctp"}
AT_ONCE = 500
"""Flows looked at before the loop may do something else."""


class Tracked(NamedTuple):
    """A connection as it is behind DNAT: the client's address and whose answers come."""

    client: Address
    server: Address
    protocol: str
    port: int
    key: bytes
    """What deletes it."""


def tracked() -> Iterable[Tracked]:
    """Yield the connections that this network namespace tracks. Blocks."""
    for family in FAMILIES:
        header = struct.pack("=BBH", family, 0, 0)
        for body in round_trip(NETLINK_NETFILTER, message(GET, ROOT_MATCH, header)):
            parts = attributes(body[4:])
            client, server = _end(parts.get(ORIGINAL, b"")), _end(parts.get(REPLY, b""))
            if client and server:
                key = header + attribute(ORIGINAL | NESTED, parts[ORIGINAL])
                if IDENTITY in parts:
                    key += attribute(IDENTITY, parts[IDENTITY])
                yield Tracked(client[0], server[0], server[1], server[2], key)


def _end(data: bytes) -> tuple[Address, str, int] | None:
    """Return where a tuple's packets come from."""
    parts = attributes(data)
    addresses, protocol = attributes(parts.get(ADDRESSES, b"")), attributes(parts.get(PROTOCOL, b""))
    packed = addresses.get(IPV4_SOURCE) or addresses.get(IPV6_SOURCE)
    if not packed or NUMBER not in protocol:
        return None
    port = int.from_bytes(protocol.get(SOURCE_PORT, b"\0\0"), "big")
    return ip_address(packed), NAMES.get(protocol[NUMBER][0], ""), port


async def forget_forbidden(state: PolicyState) -> int:
    """Delete what is tracked and forbidden; return how many connections that were."""
    try:
        flows, own = await asyncio.to_thread(lambda: (list(tracked()), own_addresses()))
        forbidden = []
        for number, flow in enumerate(flows):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            # what the node itself sends or gets is nobody's to forbid
            if flow.client not in own and flow.server not in own and is_forbidden(flow, state):
                forbidden.append(flow.key)
        if forbidden:
            await asyncio.to_thread(_delete, forbidden)
    except OSError as error:
        logger.warning("forbidden connections stay tracked until they time out: %s", error)
        return 0
    return len(forbidden)


def _delete(keys: list[bytes]) -> None:
    for key in keys:
        # one that ended meanwhile is as good as deleted
        round_trip(NETLINK_NETFILTER, message(DELETE, ACK, key), missing_ok=True)


def own_addresses() -> set[Address]:
    """Return the addresses of this network namespace. Blocks."""
    found: set[Address] = set()
    with Netlink() as here:
        for family in FAMILIES:
            header = struct.pack("=BBBBi", family, 0, 0, 0, 0)
            for body in here.dump(message(GET_ADDRESS, ROOT_MATCH, header)):
                parts = attributes(body[8:])
                if packed := parts.get(IFA_LOCAL) or parts.get(IFA_ADDRESS):
                    found.add(ip_address(packed))
    return found


def is_forbidden(flow: Tracked, state: PolicyState) -> bool:
    """Whether policies forbid a connection between pods that are subject to any."""
    client, server = party(flow.client, state), party(flow.server, state)
    records = [state.pods[end.pod.key] for end in (client, server) if end.pod is not None]
    if not any(record.stacks for record in records):
        return False
    owners = {owner for record in records for owner in record.policies}
    policies = [state.policies[owner] for owner in owners]
    found = verdicts(Connection(client, server, flow.protocol, flow.port), policies, state.namespaces)
    return not all(verdict.allowed for verdict in found)


def party(address: Address, state: PolicyState) -> Party:
    """Return an address with the pod whose it is."""
    record = state.pods.get(state.holder(address))
    return Party(address, record.facts if record else None)
