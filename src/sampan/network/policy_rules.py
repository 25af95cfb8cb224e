"""Policies as nftables rules: the text of their chains, computed and not applied.

The table asks what a packet's own pods are subject to and nothing else, so its cost does not grow with the policies of
other pods. A packet that is forwarded goes

    forward ─ answers are let through ─▶ map egress (by source) ─▶ the source's chain ─▶ to-pods
    to-pods ─▶ map ingress (by destination) ─▶ the destination's chain ─▶ accept

Pods that are subject to the same policies share a chain (``Stack``); a NetworkPolicy's rules are a chain of their own that
many stacks jump to. Peers are sets of addresses, one a selector, whoever uses it. Addresses are the pods' own: this is
behind DNAT and before SNAT. What the node sends or receives itself is not forwarded, and so always allowed. The first
packets and all others of the client are asked about each time, so a policy that changes is in force for what is
connected already; answers are let through, because their question was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sampan.network.policy_model import Action, Block, Peer, PodSet, Policy, Port, Rule, Tier, Way

TABLE = "sampan-policies"
FAMILIES = {4: "ip", 6: "ip6"}
TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
SIDES = {Way.INGRESS: "saddr", Way.EGRESS: "daddr"}
ONWARD = {Way.INGRESS: "accept", Way.EGRESS: "goto to-pods"}
"""What an accepted packet does next."""
LONGEST_COMMENT = 120

BASE = f"""table inet {TABLE} {{
  map egress-4 {{ type ipv4_addr : verdict; }}
  map egress-6 {{ type ipv6_addr : verdict; }}
  map ingress-4 {{ type ipv4_addr : verdict; }}
  map ingress-6 {{ type ipv6_addr : verdict; }}
  set itself-4 {{ type ipv4_addr . ipv4_addr; }}
  set itself-6 {{ type ipv6_addr . ipv6_addr; }}
  chain to-pods {{
    ip daddr vmap @ingress-4
    ip6 daddr vmap @ingress-6
    accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state related accept
    ct state established ct direction reply accept
    ip saddr . ip daddr @itself-4 accept
    ip6 saddr . ip6 daddr @itself-6 accept
    ip saddr vmap @egress-4
    ip6 saddr vmap @egress-6
    goto to-pods
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """What a pod is subject to one way: the policies of each tier, in the order in which they are asked. A baseline is
    for pods that no NetworkPolicy selects, so ``network`` and ``baseline`` are not both set."""

    way: Way
    admin: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.admin or self.network or self.baseline)

    @property
    def entry(self) -> str:
        """The chain where it begins."""
        return next(iter(chain_names(self)))

    @property
    def owner(self) -> str:
        return f"stack:{self.entry}"


def chain_names(stack: Stack) -> dict[str, Tier]:
    """Return the names of a stack's chains, in order, and the tier of each."""
    short = {Tier.ADMIN: "admin", Tier.NETWORK_POLICY: "policies", Tier.BASELINE: "baseline"}
    names: dict[str, Tier] = {}
    parts = ((Tier.ADMIN, stack.admin), (Tier.NETWORK_POLICY, stack.network), (Tier.BASELINE, stack.baseline))
    for number, (tier, policies) in enumerate(parts):
        if policies:
            rest = [list(after) for _, after in parts[number:]]
            names[f"{stack.way}-{short[tier]}-{_mark(str((stack.way, rest)))}"] = tier
    return names


def stack_chains(stack: Stack, policies: Mapping[str, Policy]) -> dict[str, tuple[str, ...]]:
    """Return the chains of a stack by name; ``policies`` are those it names, by their owners."""
    chains: dict[str, tuple[str, ...]] = {}
    names = list(chain_names(stack).items())
    for (name, tier), after in zip(names, [*names[1:], None], strict=True):
        onward = f"goto {after[0]}" if after else ONWARD[stack.way]
        if tier is Tier.NETWORK_POLICY:
            jumps = [f"jump {policy_chain(policies[owner], stack.way)}" for owner in stack.network]
            chains[name] = (*jumps, "counter drop")
        else:
            listed = stack.admin if tier is Tier.ADMIN else stack.baseline
            lines = [line for owner in listed for line in _tiered_lines(policies[owner], stack.way, onward)]
            chains[name] = (*lines, onward)
    return chains


def policy_chain(policy: Policy, way: Way) -> str:
    """Return the name of a NetworkPolicy's chain (at most 127 characters): recognisable, and nobody else's."""
    return f"{way}-{_mark(policy.key)[:8]}-{policy.key}"[:120].rstrip("-./")


def policy_chains(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return the chains of a NetworkPolicy; a ClusterNetworkPolicy's rules stand in the stacks'."""
    if policy.tier is not Tier.NETWORK_POLICY:
        return {}
    return {
        policy_chain(policy, way): tuple(
            line
            for number, rule in enumerate(rules)
            for line in rule_lines(rule, way, ONWARD[way], f"{policy.key} {way}[{number}]")
        )
        for way, rules in policy.ways.items()
    }


def _tiered_lines(policy: Policy, way: Way, onward: str) -> Iterator[str]:
    for rule in policy.ways.get(way, ()):
        verdict = {Action.ACCEPT: ONWARD[way], Action.DENY: "drop", Action.PASS: onward}[rule.action]
        yield from rule_lines(rule, way, verdict, f"{policy.tier} {policy.key} {rule.action} {rule.name}")


def rule_lines(rule: Rule, way: Way, verdict: str, comment: str) -> list[str]:
    """Return a rule as nft lines, one for each peer and protocol (and family where it counts)."""
    said = comment.replace('"', "'")[:LONGEST_COMMENT]
    lines = []
    for family, who in _peers(rule.peers, way):
        for what in _ports(rule.ports, family):
            lines.append(" ".join(part for part in (who, what, "counter", verdict, f'comment "{said}"') if part))
    return lines


def _peers(peers: tuple[Peer, ...] | None, way: Way) -> Iterator[tuple[int, str]]:
    """Yield family (0: either) and match."""
    if peers is None:
        yield 0, ""
        return
    side = SIDES[way]
    for peer in peers:
        if isinstance(peer, PodSet):
            yield from ((family, f"{word} {side} @{peer.name}-{family}") for family, word in FAMILIES.items())
        elif peer.network not in peer.excluded:
            yield peer.network.version, _block(peer, side)


def _block(block: Block, side: str) -> str:
    word = f"{FAMILIES[block.network.version]} {side}"
    # nft leaves out a match of every address, and with it what told the families apart
    whole = block.network.prefixlen == 0
    match = f"meta nfproto ipv{block.network.version}" if whole else f"{word} {block.network}"
    return f"{match} {word} != {{ {', '.join(map(str, block.excluded))} }}" if block.excluded else match


def _ports(ports: tuple[Port, ...] | None, family: int) -> Iterator[str]:
    if ports is None:
        yield ""
        return
    for protocol in dict.fromkeys(port.protocol for port in ports):
        of_it = [port for port in ports if port.protocol == protocol]
        if any(not port.first and not port.name for port in of_it):
            yield f"meta l4proto {protocol}"
            continue
        if ranges := _merged((port.first, port.last) for port in of_it if port.first):
            listed = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)
            yield f"{protocol} dport {{ {listed} }}"
        for name in dict.fromkeys(port.name for port in of_it if port.name):
            for each in [family] if family else FAMILIES:
                yield f"{FAMILIES[each]} daddr . {protocol} dport @{port_set(protocol, name, each)}"


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def port_set(protocol: str, name: str, family: int) -> str:
    """Return the name of the set of ``address . port`` of containers' ports that bear a name."""
    return f"port-{protocol}-{name}-{family}"


def sets_of(policy: Policy) -> dict[str, str]:
    """Return the sets that a policy's rules look into, with their types."""
    sets: dict[str, str] = {}
    for rules in policy.ways.values():
        for rule in rules:
            for peer in rule.peers or ():
                if isinstance(peer, PodSet):
                    said = str(peer).replace('"', "'")[:LONGEST_COMMENT]
                    for family, kind in TYPES.items():
                        sets[f"{peer.name}-{family}"] = f'type {kind}; comment "{said}";'
            for port in rule.ports or ():
                if port.name:
                    for family, kind in TYPES.items():
                        sets[port_set(port.protocol, port.name, family)] = f"type {kind} . inet_service;"
    return sets


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
