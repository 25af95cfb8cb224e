"""Forget the connections that policies no longer allow.

A client's packets are asked about each time, so nothing more of it comes through once a policy forbids it; answers are let
through by connection tracking. Forgetting the connection ends these, too (a UDP server that goes on sending, say).
"""

from __future__ import annotations

import asyncio
import logging
import socket

from sampan.network import conntrack
from sampan.network.conntrack import Entry
from sampan.network.families import FAMILIES, Address
from sampan.network.policy_state import PolicyState
from sampan.network.policy_verdict import Connection, Party, verdicts
from sampan.network.route_netlink import Netlink

logger = logging.getLogger("sampan.network")

NAMES = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", 132: "sctp"}
AT_ONCE = 500
"""Flows looked at before the loop may do something else."""


async def forget_forbidden(state: PolicyState) -> int:
    """Delete what is tracked and forbidden; return how many connections that were."""
    try:
        flows, own = await asyncio.to_thread(lambda: (tracked(), own_addresses()))
        forbidden = []
        for number, flow in enumerate(flows):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            # what the node itself sends or gets is nobody's to forbid
            if flow.original.source not in own and flow.reply.source not in own and is_forbidden(flow, state):
                forbidden.append(flow)
        if forbidden:
            await asyncio.to_thread(conntrack.delete, forbidden)
    except OSError as error:
        logger.warning("forbidden connections stay tracked until they time out: %s", error)
        return 0
    return len(forbidden)


def tracked() -> list[Entry]:
    """Return the connections that this network namespace tracks. Blocks."""
    return [entry for family in FAMILIES for entry in conntrack.entries(family)]


def own_addresses() -> set[Address]:
    """Return the addresses of this network namespace. Blocks."""
    with Netlink() as here:
        return set(here.all_addresses())


def is_forbidden(flow: Entry, state: PolicyState) -> bool:
    """Whether policies forbid a connection between pods that are subject to any."""
    client, server = party(flow.original.source, state), party(flow.reply.source, state)
    records = [state.pods[end.pod.key] for end in (client, server) if end.pod is not None]
    if not any(record.stacks for record in records):
        return False
    owners = {owner for record in records for owner in record.policies}
    policies = [state.policies[owner] for owner in owners]
    connection = Connection(client, server, NAMES.get(flow.protocol, ""), flow.reply.source_port)
    found = verdicts(connection, policies, state.namespaces)
    return not all(verdict.allowed for verdict in found)


def party(address: Address, state: PolicyState) -> Party:
    """Return an address with the pod whose it is."""
    record = state.pods.get(state.holder(address))
    return Party(address, record.facts if record else None)
