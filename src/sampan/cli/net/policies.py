"""``sampan net policies POD``: the policies that select a pod, in the order in which they are asked, and what they allow."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.network.policy_model import PodFacts, Policy, Way
    from sampan.network.trace_world import World

SUMMARY = "the policies that a pod is subject to, and what they allow"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", help="NAME or NAMESPACE/NAME")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(show(options))


async def show(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network.policy_model import Way
    from sampan.network.trace_world import read_world

    key = reaching.pod_key(options.pod, options.namespace)
    async with reaching.api(options) as api:
        world = await read_world(api, "")
    if key not in world.pods:
        raise ClusterError(f"there is no pod {key}", f"`{reaching.kubectl(options)} get pods -A` shows them")
    facts = world.facts(key)
    if facts is None:
        print(f"{key} is of the host's network: policies do not select it")
        return 0
    found = {way: subject_to(world, facts, way) for way in Way}
    if options.output == "json":
        print(
            json.dumps(
                {str(way): [document(policy, way) for policy in listed] for way, listed in found.items()}, indent=2
            )
        )
        return 0
    for way, listed in found.items():
        print("\n".join(text(way, listed)))
    return 0


def subject_to(world: World, facts: PodFacts, way: Way) -> list[Policy]:
    """Return the policies that select a pod, in the order in which they are asked; a baseline only where it counts."""
    from sampan.network.policy_model import Tier

    about = [
        policy for policy in world.policies if way in policy.ways and policy.subject.holds(facts, world.namespaces)
    ]
    closed = any(policy.tier is Tier.NETWORK_POLICY for policy in about)
    tiers = [tier for tier in Tier if not (tier is Tier.BASELINE and closed)]
    return [policy for tier in tiers for policy in sorted(about, key=lambda one: one.order) if policy.tier is tier]


def text(way: Way, listed: list[Policy]) -> list[str]:
    from sampan.network.policy_model import Tier

    closed = any(policy.tier is Tier.NETWORK_POLICY for policy in listed)
    rest = "nothing else" if closed else "everything else"
    lines = [f"{way}: {'open, no policy selects the pod' if not listed else ''}".rstrip()]
    for policy in listed:
        place = "" if policy.tier is Tier.NETWORK_POLICY else f" ({policy.tier} tier, priority {policy.priority})"
        lines.append(f"  {policy.kind} {policy.key}{place}")
        rules = policy.ways[way]
        for number, rule in enumerate(rules):
            lines.append(f"    [{number}] {rule.action.lower()} {'from' if way == 'ingress' else 'to'} {rule}")
        if not rules:
            lines.append("    no rule: nothing is allowed by it")
    return [*lines, f"  {rest}"] if listed else lines


def document(policy: Policy, way: Way) -> dict[str, Any]:
    rules = [{"action": str(rule.action), "name": rule.name, "text": str(rule)} for rule in policy.ways[way]]
    return {
        "kind": policy.kind,
        "name": policy.key,
        "tier": str(policy.tier),
        "priority": policy.priority,
        "rules": rules,
    }
