"""The way of a packet from a pod to a destination, told from the cluster's objects: what ``sampan net trace`` prints.

Flow: ``trace`` reads a ``World`` and gives a ``Trace``: what the destination means (``trace_target.py``), and a ``Branch``
for each endpoint that may be picked, with what policies say of it (``policy_verdict.py``) and the links it passes.
Nothing is sent; ``trace_live.py`` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.network.families import IPV4, IPV6, Address, Family, parse_address
from sampan.network.policy_model import Tier, Way
from sampan.network.policy_verdict import Connection, Party, Verdict, verdicts
from sampan.network.service_endpoints import Endpoint
from sampan.network.trace_target import Asker, Target, TraceError, target_of
from sampan.network.trace_world import World

YES, NO, SOMETIMES = "yes", "no", "sometimes"


@dataclass(frozen=True, slots=True)
class Branch:
    endpoint: Endpoint
    share: float
    """The chance that this endpoint is picked."""
    where: str
    """The pod or the node that has the address, or that it is the world's."""
    said: tuple[Verdict, ...]
    exempt: str
    """Why policies are not asked, or ``""``."""
    links: tuple[str, ...]
    source_seen: str
    """Whom the server sees as the client."""

    @property
    def allowed(self) -> bool:
        return all(verdict.allowed for verdict in self.said)


@dataclass(frozen=True, slots=True)
class Trace:
    client: str
    address: Address
    node: str
    target: Target
    branches: tuple[Branch, ...]

    @property
    def reached(self) -> str:
        open_ways = [branch.allowed for branch in self.branches]
        return NO if not any(open_ways) else YES if all(open_ways) else SOMETIMES


@dataclass(frozen=True, slots=True)
class Links:
    """What is known of the node's links: the pods' by ``namespace/name``; ``bridge`` and ``uplink`` are empty elsewhere."""

    of_pods: Mapping[str, str]
    bridge: str = ""
    uplink: str = ""
    gateways: tuple[Address, ...] = ()


NO_LINKS = Links({})


def trace(world: World, client: str, text: str, protocol: str, version: int = 0, links: Links = NO_LINKS) -> Trace:
    """Return the way from a pod (``namespace/name``) to a destination. ``version`` 6 asks for IPv6 where there is a
    choice. Raises ``TraceError``."""
    if client not in world.pods:
        raise TraceError(f"there is no pod {client}", "`kubectl get pods -A` shows them")
    pod = world.pods[client]
    namespace = client.partition("/")[0]
    node = str(pod["spec"].get("nodeName") or "")
    family = IPV6 if version == 6 else IPV4
    address = _address_of(pod, family)
    if address is None and not version:
        family = IPV6
        address = _address_of(pod, family)
    if address is None:
        phase = (pod.get("status") or {}).get("phase")
        raise TraceError(f"pod {client} has no {family.name} address", f"it is {phase}")
    target = target_of(text, world, Asker(namespace, node, family, protocol))
    if target.addresses and target.addresses[0].version != address.version:
        other = _address_of(pod, IPV6 if target.addresses[0].version == 6 else IPV4)
        if other is None:
            raise TraceError(f"pod {client} has no address of the family of {target.addresses[0]}")
        address = other
    share = 1 / len(target.endpoints) if target.endpoints else 0.0
    branches = tuple(
        _branch(world, client, address, node, target, endpoint, share, links) for endpoint in target.endpoints
    )
    return Trace(client, address, node, target, branches)


def _address_of(pod: Mapping[str, Any], family: Family) -> Address | None:
    listed = [parse_address(entry.get("ip")) for entry in (pod.get("status") or {}).get("podIPs") or ()]
    return next((address for address in listed if address and address.version == family.version), None)


def _branch(
    world: World,
    client: str,
    address: Address,
    node: str,
    target: Target,
    endpoint: Endpoint,
    share: float,
    links: Links,
) -> Branch:
    client_facts, server = world.facts(client), world.pod_at(endpoint.address)
    server_node = world.node_at(endpoint.address)
    where = f"pod {server.key}" if server else f"node {server_node}" if server_node else "the world"
    exempt = ""
    if endpoint.address == address:
        exempt = "a pod always reaches itself"
    elif server_node and server_node == node:
        exempt = "a pod always reaches its own node"
    elif client_facts is None and server is not None and server.node == node:
        exempt = "the node always reaches its pods"
    said: tuple[Verdict, ...] = ()
    if not exempt:
        connection = Connection(
            Party(address, client_facts), Party(endpoint.address, server), target.protocol, endpoint.port
        )
        said = tuple(verdicts(connection, world.policies, world.namespaces))
    seen = str(address)
    if endpoint.address == address and target.translated:
        gateway = next((each for each in links.gateways if each.version == address.version), None)
        seen = f"{gateway or 'the node'} (masqueraded: its own Service led back to it)"
    elif where == "the world" and links.uplink:
        seen = "the host's address (masqueraded where the packet leaves the host)"
    return Branch(
        endpoint, share, where, said, exempt, _links(client, server.key if server else "", where, links), seen
    )


def _links(client: str, server: str, where: str, links: Links) -> tuple[str, ...]:
    if not links.bridge:
        return ()
    begin = (links.of_pods[client], links.bridge) if client in links.of_pods else ("the node",)
    if server:
        return (*begin, *((links.bridge,) if len(begin) == 1 else ()), links.of_pods.get(server, "?"))
    return (*begin, links.uplink) if where == "the world" else begin


# words


def explain(verdict: Verdict, branch: Branch, client: str) -> str:
    """Return a verdict as a person reads it: what decided, or who would have to allow it."""
    subject = client if verdict.way is Way.EGRESS else branch.where.removeprefix("pod ")
    passed = f" (passed on by {', '.join(verdict.passed)})" if verdict.passed else ""
    if verdict.policy is not None and verdict.rule is not None:
        rule = f"{verdict.policy.kind} {verdict.policy.key}"
        rule += f" {verdict.way}[{verdict.number}]"
        if verdict.policy.tier is not Tier.NETWORK_POLICY:
            rule += f" {verdict.rule.name!r} ({verdict.policy.tier} tier, priority {verdict.policy.priority})"
        word = "allowed" if verdict.allowed else "denied"
        return f"{word} by {rule}: {verdict.rule}{passed}"
    if verdict.closed_by:
        names = ", ".join(policy.key for policy in verdict.closed_by)
        return f"denied: {subject} is selected by {names}, and no rule allows this{passed}"
    return f"allowed: no policy selects {subject} for {verdict.way}{passed}"


def remedy(verdict: Verdict, branch: Branch, trace: Trace) -> str:
    """Return which policy would have to allow what a verdict forbids, and how."""
    other, side = (branch.where, "to") if verdict.way is Way.EGRESS else (f"pod {trace.client}", "from")
    port = f"{trace.target.protocol.upper()} {branch.endpoint.port}"
    if verdict.policy is not None:
        before = f"a rule before it (or a {verdict.policy.tier} policy of a priority below {verdict.policy.priority})"
        return f"{before} would have to accept {port} {side} {other}"
    names = [policy.key for policy in verdict.closed_by]
    one = f"{names[0]}" if len(names) == 1 else f"one of {', '.join(names)}"
    subject = trace.client if verdict.way is Way.EGRESS else branch.where.removeprefix("pod ")
    return f"{one} (or another policy that selects {subject}) would have to allow {verdict.way} {side} {other}, {port}"


def document(found: Trace) -> dict[str, Any]:
    """Return a trace as JSON."""
    target = found.target
    return {
        "from": {"pod": found.client, "address": str(found.address), "node": found.node},
        "to": {
            "asked": target.asked,
            "name": target.name,
            "what": target.what,
            "service": target.service,
            "protocol": target.protocol,
            "port": target.port,
            "addresses": list(map(str, target.addresses)),
            "translated": target.translated,
            "notes": list(target.notes),
            "problem": target.problem,
            "unused": [{"endpoint": str(endpoint), "why": why} for endpoint, why in target.unused],
        },
        "branches": [_branch_document(branch, found) for branch in found.branches],
        "reached": found.reached,
    }


def _branch_document(branch: Branch, found: Trace) -> dict[str, Any]:
    return {
        "endpoint": str(branch.endpoint),
        "share": round(branch.share, 4),
        "where": branch.where,
        "allowed": branch.allowed,
        "exempt": branch.exempt,
        "verdicts": [
            {
                "direction": str(verdict.way),
                "allowed": verdict.allowed,
                "policy": f"{verdict.policy.kind} {verdict.policy.key}" if verdict.policy else "",
                "rule": verdict.number if verdict.policy else None,
                "closedBy": [policy.key for policy in verdict.closed_by],
                "passedBy": list(verdict.passed),
                "text": explain(verdict, branch, found.client),
                "remedy": "" if verdict.allowed else remedy(verdict, branch, found),
            }
            for verdict in branch.said
        ],
        "links": list(branch.links),
        "clientSeenAs": branch.source_seen,
    }
