"""What NetworkPolicies, ClusterNetworkPolicies, Pods and Namespaces say, parsed once into small facts.

A policy becomes a ``Policy``: whom it is about (a ``PodSet``) and, for each way that it speaks of, its rules. All rules of
a NetworkPolicy accept, and what it selects is closed to everything else; a ClusterNetworkPolicy's accept, deny or pass.
Host-network pods are no ``PodFacts``: their traffic is the node's. Source: networking/v1 types.go, KEP-2079 (endPort),
KEP-2091 and network-policy-api's v1beta1 types (ClusterNetworkPolicy).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import collapse_addresses, ip_network
from typing import Any

from sampan.network.families import Address, Network, parse_address
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
ENDED = ("Succeeded", "Failed")


class Way(StrEnum):
    """A direction of traffic, as seen from the pod that a policy is about."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Action(StrEnum):
    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"


class Tier(StrEnum):
    """In the order in which they are asked."""

    ADMIN = "Admin"
    NETWORK_POLICY = "NetworkPolicy"
    BASELINE = "Baseline"


@dataclass(frozen=True, slots=True)
class PodFacts:
    key: str
    uid: str
    labels: Mapping[str, str]
    addresses: tuple[Address, ...] = ()
    node: str = ""
    ended: bool = False
    ports: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    """``(protocol, name) -> numbers``, as the containers name them."""

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]


@dataclass(frozen=True, slots=True)
class PodSet:
    """Pods of one namespace (``namespace``) or of those that ``namespaces`` selects, that ``pods`` selects."""

    pods: LabelSelector
    namespace: str = ""
    namespaces: LabelSelector | None = None

    def holds(self, pod: PodFacts, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if self.namespaces is None:
            return pod.namespace == self.namespace and self.pods.matches(pod.labels)
        labels = namespaces.get(pod.namespace)
        return labels is not None and self.namespaces.matches(labels) and self.pods.matches(pod.labels)

    @property
    def name(self) -> str:
        """The name of the set in the table, without the family."""
        return f"pods-{hashlib.sha256(str(self).encode()).hexdigest()[:12]}"

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespaces is None else _words("namespace", self.namespaces)
        return f"{_words('pod', self.pods)} of {where}"


def _words(noun: str, selector: LabelSelector) -> str:
    if selector.nothing:
        return f"no {noun}"
    return f"{noun}s {selector}" if selector.requirements else f"every {noun}"


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses of ``network`` but those of ``excluded`` (which do not overlap each other)."""

    network: Network
    excluded: tuple[Network, ...] = ()

    def __contains__(self, address: Address) -> bool:
        return address in self.network and not any(address in hole for hole in self.excluded)

    def __str__(self) -> str:
        holes = f" except {', '.join(map(str, self.excluded))}" if self.excluded else ""
        return f"{self.network}{holes}"


Peer = PodSet | Block


@dataclass(frozen=True, slots=True)
class Port:
    """A protocol's ports: all (``first`` 0 and no name), a range, or those of a container that bear a name."""

    protocol: str
    first: int = 0
    last: int = 0
    name: str = ""

    def __str__(self) -> str:
        number = self.name or (f"{self.first}-{self.last}" if self.last > self.first else str(self.first or "any"))
        return f"{self.protocol.upper()} {number}"


@dataclass(frozen=True, slots=True)
class Rule:
    """``peers`` and ``ports`` are None where all are meant; empty ones match nothing."""

    peers: tuple[Peer, ...] | None = None
    ports: tuple[Port, ...] | None = None
    action: Action = Action.ACCEPT
    name: str = ""

    def __str__(self) -> str:
        who = "anyone" if self.peers is None else " or ".join(map(str, self.peers)) or "nobody"
        what = "" if self.ports is None else f", {' or '.join(map(str, self.ports)) or 'no port'}"
        return who + what


@dataclass(frozen=True, slots=True)
class Policy:
    key: str
    tier: Tier
    subject: PodSet
    ways: Mapping[Way, tuple[Rule, ...]]
    """The ways it speaks of. A NetworkPolicy closes these, whatever the rules."""
    priority: int = 0

    @property
    def owner(self) -> str:
        """What it is called among all policies."""
        return f"{self.tier}:{self.key}"

    @property
    def order(self) -> tuple[int, str]:
        return self.priority, self.key

    @property
    def kind(self) -> str:
        return "NetworkPolicy" if self.tier is Tier.NETWORK_POLICY else "ClusterNetworkPolicy"


# pods


def pod_facts(pod: Object) -> PodFacts | None:
    """Return what policies ask of a pod; None for one of the host's network. One that has ended has no addresses."""
    annotations = pod["metadata"].get("annotations") or {}
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    if spec.get("hostNetwork"):
        return None
    addresses: tuple[Address, ...] = ()
    ended = status.get("phase") in ENDED
    if not ended:
        listed = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
        addresses = tuple(found for text in listed if (found := parse_address(text)))
    return PodFacts(
        key=f"{metadata.get('namespace')}/{metadata['name']}",
        # what the runtime knows a static pod by is not the uid of its mirror
        uid=str(annotations.get("kubernetes.io/config.mirror") or metadata.get("uid") or ""),
        labels=metadata.get("labels") or {},
        addresses=addresses,
        node=str(spec.get("nodeName") or ""),
        ended=ended,
        ports=_named_ports(spec),
    )


def _named_ports(spec: Mapping[str, Any]) -> dict[tuple[str, str], frozenset[int]]:
    sidecars = [found for found in spec.get("initContainers") or () if found.get("restartPolicy") == "Always"]
    numbers: dict[tuple[str, str], set[int]] = {}
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            protocol = PROTOCOLS.get(port.get("protocol") or "TCP")
            if port.get("name") and protocol and port.get("containerPort"):
                numbers.setdefault((protocol, port["name"]), set()).add(int(port["containerPort"]))
    return {key: frozenset(found) for key, found in numbers.items()}


# NetworkPolicy


def network_policy(policy: Object) -> Policy:
    """Return a NetworkPolicy's facts. Raises ``ValueError`` for what the API would not have let in."""
    spec, namespace = policy.get("spec") or {}, str(policy["metadata"].get("namespace"))
    kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    ways: dict[Way, tuple[Rule, ...]] = {}
    for kind, way, side in (("Ingress", Way.INGRESS, "from"), ("Egress", Way.EGRESS, "to")):
        if kind in kinds:
            ways[way] = tuple(
                Rule(
                    tuple(_peer(peer, namespace) for peer in rule[side]) if rule.get(side) else None,
                    tuple(_port(port) for port in rule["ports"]) if rule.get("ports") else None,
                )
                for rule in spec.get(way) or ()
            )
    subject = PodSet(label_selector(spec.get("podSelector") or {}), namespace)
    return Policy(f"{namespace}/{policy['metadata']['name']}", Tier.NETWORK_POLICY, subject, ways)


def _peer(peer: Mapping[str, Any], namespace: str) -> Peer:
    if peer.get("ipBlock") is not None:
        network = ip_network(peer["ipBlock"]["cidr"], strict=False)
        holes = [ip_network(text, strict=False) for text in peer["ipBlock"].get("except") or ()]
        return Block(network, _collapsed(hole for hole in holes if hole.version == network.version))
    pods = label_selector(peer["podSelector"]) if peer.get("podSelector") is not None else label_selector({})
    if peer.get("namespaceSelector") is None:
        return PodSet(pods, namespace)
    return PodSet(pods, namespaces=label_selector(peer["namespaceSelector"]))


def _collapsed(networks: Iterable[Network]) -> tuple[Network, ...]:
    return tuple(collapse_addresses(networks))  # type: ignore[type-var]


def _port(port: Mapping[str, Any]) -> Port:
    protocol, number = PROTOCOLS[port.get("protocol") or "TCP"], port.get("port")
    if number is None:
        return Port(protocol)
    if isinstance(number, str):
        return Port(protocol, name=number)
    return Port(protocol, int(number), int(port.get("endPort") or number))


# ClusterNetworkPolicy


def cluster_network_policy(policy: Object) -> Policy:
    """Return a ClusterNetworkPolicy's facts. A peer of a kind that is not known here makes its rule fail closed, as
    the API asks for: it accepts nobody, or denies everybody. Raises ``ValueError``."""
    spec, name = policy.get("spec") or {}, str(policy["metadata"]["name"])
    ways: dict[Way, tuple[Rule, ...]] = {}
    for way, side in ((Way.INGRESS, "from"), (Way.EGRESS, "to")):
        if spec.get(way):
            ways[way] = tuple(_tiered_rule(rule, side, number) for number, rule in enumerate(spec[way]))
    subject = _pods(spec.get("subject") or {})
    if subject is None:
        raise ValueError("spec.subject: exactly one of namespaces and pods must be set")
    return Policy(name, Tier(str(spec.get("tier"))), subject, ways, int(spec.get("priority") or 0))


def _tiered_rule(rule: Mapping[str, Any], side: str, number: int) -> Rule:
    action, name = Action(str(rule.get("action"))), str(rule.get("name") or f"#{number}")
    peers: list[Peer] = []
    closed = False
    for given in rule.get(side) or ():
        found = _pods(given)
        if found is not None:
            peers.append(found)
        elif side == "to" and given.get("networks"):
            peers += [Block(ip_network(text, strict=False)) for text in given["networks"]]
        else:
            closed = True
    ports: list[Port] = []
    for given in rule.get("protocols") or ():
        found_ports = _tiered_ports(given)
        closed = closed or not found_ports
        ports += found_ports
    if closed:
        return Rule(peers=(), name=name) if action is Action.ACCEPT else Rule(action=Action.DENY, name=name)
    return Rule(tuple(peers), tuple(ports) if rule.get("protocols") else None, action, name)


def _pods(given: Mapping[str, Any]) -> PodSet | None:
    if given.get("namespaces") is not None:
        return PodSet(label_selector({}), namespaces=label_selector(given["namespaces"]))
    if given.get("pods") is not None:
        both = given["pods"]
        return PodSet(
            label_selector(both.get("podSelector") or {}),
            namespaces=label_selector(both.get("namespaceSelector") or {}),
        )
    return None


def _tiered_ports(given: Mapping[str, Any]) -> list[Port]:
    if given.get("destinationNamedPort"):
        return [Port(protocol, name=str(given["destinationNamedPort"])) for protocol in PROTOCOLS.values()]
    for protocol in PROTOCOLS.values():
        if protocol in given:
            port = (given[protocol] or {}).get("destinationPort") or {}
            if port.get("number"):
                return [Port(protocol, int(port["number"]), int(port["number"]))]
            if port.get("range"):
                return [Port(protocol, int(port["range"]["start"]), int(port["range"]["end"]))]
            return [Port(protocol)]
    return []
