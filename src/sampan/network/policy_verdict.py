"""What policies say of one connection, and why: the same meaning as the table's, told in words.

``judge`` asks the policies that select one of its two pods. Traffic of the node itself and of a pod to itself is never
asked about. Source: networking/v1 types.go, network-policy-api's v1beta1 types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sampan.network.families import Address
from sampan.network.policy_model import (
    Action,
    Block,
    PodFacts,
    Policy,
    Port,
    Rule,
    Tier,
    Way,
)

Namespaces = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a connection; ``pod`` is None for the node, another host and the world."""

    address: Address
    pod: PodFacts | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    client: Party
    server: Party
    protocol: str
    port: int
    """The server's; 0 for a protocol without ports."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy`` and ``rule`` are what decided; without a policy nothing selects the pod. ``closed_by`` are the
    NetworkPolicies that select the pod, none of whose rules allows the connection."""

    way: Way
    allowed: bool
    policy: Policy | None = None
    rule: Rule | None = None
    number: int = 0
    closed_by: tuple[Policy, ...] = ()
    passed: tuple[str, ...] = ()
    """The admin rules that passed it on."""


def verdicts(connection: Connection, policies: Iterable[Policy], namespaces: Namespaces) -> list[Verdict]:
    """Return what the client's egress and the server's ingress say, up to the first that forbids."""
    if connection.client.address == connection.server.address:
        return []
    listed = list(policies)
    found = []
    for way, subject in ((Way.EGRESS, connection.client.pod), (Way.INGRESS, connection.server.pod)):
        if subject is not None:
            found.append(judge(way, subject, connection, listed, namespaces))
            if not found[-1].allowed:
                break
    return found


def judge(
    way: Way, subject: PodFacts, connection: Connection, policies: Iterable[Policy], namespaces: Namespaces
) -> Verdict:
    """Return what the policies that select ``subject`` say of a connection."""
    about = [policy for policy in policies if way in policy.ways and policy.subject.holds(subject, namespaces)]
    passed: list[str] = []
    for tier in Tier:
        listed = sorted((policy for policy in about if policy.tier is tier), key=lambda policy: policy.order)
        for policy, number, rule in _matching(listed, way, connection, namespaces):
            if rule.action is Action.PASS:
                passed.append(f"{policy.key} {rule.name}")
                break
            return Verdict(way, rule.action is Action.ACCEPT, policy, rule, number, passed=tuple(passed))
        if tier is Tier.NETWORK_POLICY and listed:
            return Verdict(way, False, closed_by=tuple(listed), passed=tuple(passed))
    return Verdict(way, True, passed=tuple(passed))


def _matching(
    policies: list[Policy], way: Way, connection: Connection, namespaces: Namespaces
) -> Iterable[tuple[Policy, int, Rule]]:
    for policy in policies:
        for number, rule in enumerate(policy.ways[way]):
            if matches(rule, way, connection, namespaces):
                yield policy, number, rule


def matches(rule: Rule, way: Way, connection: Connection, namespaces: Namespaces) -> bool:
    """Whether a rule is about a connection."""
    other = connection.client if way is Way.INGRESS else connection.server
    if rule.peers is not None and not any(_is(peer, other, namespaces) for peer in rule.peers):
        return False
    return rule.ports is None or any(_at(port, connection) for port in rule.ports)


def _is(peer: object, party: Party, namespaces: Namespaces) -> bool:
    if isinstance(peer, Block):
        return party.address in peer
    return party.pod is not None and peer.holds(party.pod, namespaces)  # type: ignore[attr-defined]


def _at(port: Port, connection: Connection) -> bool:
    if port.protocol != connection.protocol:
        return False
    if port.name:
        pod = connection.server.pod
        return pod is not None and connection.port in pod.ports.get((port.protocol, port.name), ())
    return not port.first or port.first <= connection.port <= port.last
