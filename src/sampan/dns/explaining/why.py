"""Why a pod gets the answer it gets: its search, step by step, with the object behind each answer.

The world is read once from the API and answered by the same code as the server's (``Responder.look``); a server that can be
reached is asked each step too, and what it says otherwise is told. Source: resolv.conf(5) for the order of the steps.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from dataclasses import dataclass
from typing import NamedTuple

from sampan.dns import wire
from sampan.dns.asking import Outside
from sampan.dns.entries import Ip
from sampan.dns.explaining.texts import text_of
from sampan.dns.explaining.world import Step, World
from sampan.dns.forwarding import exchange
from sampan.dns.forwarding.upstream_answer import read as read_answer
from sampan.dns.search import search_list

PATIENCE_SECONDS = 6.0


class Resolver(NamedTuple):
    """What a pod's resolv.conf says."""

    servers: tuple[str, ...]
    searches: tuple[str, ...]
    ndots: int


@dataclass(slots=True)
class Why:
    resolver: Resolver
    steps: list[Step]
    at_once: str = ""
    """Where the server walks the search itself: the name that it answers with one question's answer."""


def steps_of(name: str, resolver: Resolver) -> list[str]:
    """Return the names that a resolver asks for one after the other (resolv.conf(5), ``ndots``)."""
    if name.endswith("."):
        return [name.rstrip(".")]
    searched = [f"{name}.{search}" for search in resolver.searches]
    return [name, *searched] if name.count(".") >= resolver.ndots else [*searched, name]


async def why(
    world: World, name: str, kind: int, resolver: Resolver, source: Ip | None, server: exchange.Address | None
) -> Why:
    """Return the search of a pod, up to the step that answers. ``source``: the pod's address; ``server``: asked too."""
    names, steps = steps_of(name, resolver), []
    for one in names:
        found = world.step(one, kind)
        said = await _asked(server, one, kind) if server is not None else None
        if isinstance(found, Outside):
            aliases = [text_of(record)[0] for record in found.aliases]
            step = said or Step(
                one, "?", aliases, by="forward", because=["resolvers outside know; ask where one is reached"]
            )
            step.by, step.because = "forward", [f"asked of {resolvers_of(found)}"]
        else:
            step = found
            if server is not None and said is None:
                step.server = f"nothing: {server} does not answer"
            elif said is not None and (said.code, sorted(said.answers)) != (found.code, sorted(found.answers)):
                step.server = f"{said.code} {', '.join(said.answers)}".strip()
        steps.append(step)
        if step.ends:
            break
    return Why(resolver, steps, _at_once(world, names, steps, source))


def _at_once(world: World, names: list[str], steps: list[Step], source: Ip | None) -> str:
    """Return the name that the server finds itself, on the way of the search; "" where the first step answers."""
    pod = world.follower.pod_at(source) if source is not None else None
    if pod is None or len(steps) < 2 or not steps[-1].ends:
        return ""
    first = wire.name_to_wire(names[0].lower())
    block = world.configuration.block_of(first)
    way = next((way for way in world.responder.ways if way.block is block), None)
    if way is None or not search_list(pod, world.follower.zone.domain, ()):
        return ""
    walked = world.responder.steps(way, first, pod.addresses[0])
    return steps[-1].name if wire.name_to_wire(steps[-1].name.lower()) in walked else ""


async def _asked(server: exchange.Address, name: str, kind: int) -> Step | None:
    """Return what the server says of a name; None where it does not answer."""
    head = struct.pack("!HHHHHH", secrets.randbits(16), wire.RECURSION_DESIRED, 1, 0, 0, 0)
    query = head + wire.name_to_wire(name) + struct.pack("!HH", kind, wire.IN)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answered = read_answer(await exchange.ask(server, query, udp=True))
            if answered.is_truncated:
                answered = read_answer(await exchange.ask(server, query, udp=False))
        records = answered.records()[0]
    except (OSError, TimeoutError, wire.WireError):
        return None
    found = [text_of(record) for record in records]
    code = wire.CODES[answered.code] if answered.code < len(wire.CODES) else str(answered.code)
    return Step(name, code, [text for text, _ in found], min((ttl for _, ttl in found), default=None))


def resolvers_of(outside: Outside) -> str:
    forwards = outside.way.block.forwards
    for forward in forwards:
        if wire.is_below(outside.name, forward.zone):
            return ", ".join([*map(str, forward.addresses), *map(str, forward.files)])
    return "nobody: no forward line has this name"
