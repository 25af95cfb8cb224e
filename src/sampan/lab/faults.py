"""Faults, and what they are made of: packet filter rules, queueing disciplines, links that are down. Pure.

A direction of a link is filtered where it arrives: in the namespace of the end that hears it, on the ``ingress`` hook, before
anything there sees the frame. So no fault needs more of a kernel than nftables; only a delay needs netem.
Source: nft(8) (numgen, limit, netdev), linux/netfilter_netdev.h.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sampan.lab.errors import LabError
from sampan.lab.plan import FABRIC, Cable, Plan, Plug
from sampan.lab.topology import RATE_MAX_BITS, Impairment

TABLE = "sampan-lab-faults"
LOSS_SLOTS = 1000
"""Frames after which a seeded pattern of losses begins again."""
BURST_BYTES = 16_000


@dataclass(frozen=True, slots=True)
class Cut:
    """The cable is pulled: no carrier at either end."""

    link: str


@dataclass(frozen=True, slots=True)
class OneWay:
    """What ``sender`` sends over the link is lost, and nobody is told."""

    link: str
    sender: str


@dataclass(frozen=True, slots=True)
class Loss:
    link: str
    percent: float
    sender: str = ""
    """Only what this end sends; "" is both."""
    seed: int | None = None
    """With a seed the same packets are lost every time, counted from the fault's beginning."""


@dataclass(frozen=True, slots=True)
class Rate:
    link: str
    bits: int
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    link: str
    seconds: float
    jitter_seconds: float = 0
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """The node hangs: its programs stand still, its links are up, and nobody there hears or answers anything."""

    node: str


@dataclass(frozen=True, slots=True)
class Partition:
    """Nodes of different groups hear nothing of each other; nodes of no group hear all."""

    groups: tuple[tuple[str, ...], ...]


Fault = Cut | OneWay | Loss | Rate | Delay | Pause | Partition


def describe(fault: Fault) -> str:
    """Return a fault as people say it."""
    match fault:
        case Cut(link):
            return f"cut {link}"
        case OneWay(link, sender):
            return f"one-way {link}: nothing from {sender} arrives"
        case Loss(link, percent, sender, seed):
            return f"loss {link} {percent:g}%{_from(sender)}{f', seed {seed}' if seed is not None else ''}"
        case Rate(link, bits, sender):
            return f"rate {link} {rate_text(bits)}{_from(sender)}"
        case Delay(link, seconds, jitter, sender):
            return f"delay {link} {seconds * 1e3:g}ms{f' ± {jitter * 1e3:g}ms' if jitter else ''}{_from(sender)}"
        case Pause(node):
            return f"pause {node}"
        case Partition(groups):
            return f"partition {' | '.join(','.join(group) for group in groups)}"


def rate_text(bits: int) -> str:
    """Return a rate in the unit that people would say it in."""
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bits >= size:
            return f"{bits / size:g}{unit}"
    return f"{bits}bit"


def _from(sender: str) -> str:
    return f" from {sender}" if sender else ""


def touches(fault: Fault, name: str) -> bool:
    """Whether a fault is about a link or node."""
    if isinstance(fault, Partition):
        return any(name in group for group in fault.groups)
    return name == (fault.node if isinstance(fault, Pause) else fault.link)


def replaces(new: Fault, old: Fault) -> bool:
    """Whether a fault takes the place of one that is there: of the same kind, of the same thing."""
    if type(new) is not type(old):
        return False
    if isinstance(new, Partition) or isinstance(old, Partition):
        return True
    if isinstance(new, Pause) or isinstance(old, Pause):
        return new == old
    if new.link != old.link:
        return False
    senders = getattr(new, "sender", ""), getattr(old, "sender", "")
    return isinstance(new, Cut) or not senders[0] or senders[0] == senders[1]


def validate(fault: Fault, plan: Plan) -> None:
    """Raise ``LabError`` for a fault of what there is not."""
    if isinstance(fault, Partition):
        seen: dict[str, int] = {}
        if len(fault.groups) < 2:
            raise LabError("a partition has at least two groups")
        for number, group in enumerate(fault.groups):
            for node in group:
                _known("node", node, plan.nodes)
                if seen.setdefault(node, number) != number:
                    raise LabError(f"node {node!r} is in two groups")
        return
    if isinstance(fault, Pause):
        _known("node", fault.node, plan.nodes)
        return
    _known("link", fault.link, plan.cables)
    sender = getattr(fault, "sender", "")
    ends = [plug.shown for plug in plan.cables[fault.link].ends]
    if sender and sender not in ends:
        raise LabError(f"link {fault.link!r} has the ends {' and '.join(ends)}, not {sender!r}")
    if isinstance(fault, Loss) and not 0 < fault.percent <= 100:
        raise LabError(f"a loss is a percentage above 0 and at most 100, not {fault.percent:g}")
    if isinstance(fault, Rate) and fault.bits < 8:
        raise LabError("a rate is at least 8 bit a second")
    if isinstance(fault, Rate) and fault.bits > RATE_MAX_BITS:
        raise LabError(f"a rate is at most {rate_text(RATE_MAX_BITS)} a second")
    if isinstance(fault, Delay) and not 0 <= fault.jitter_seconds <= fault.seconds:
        raise LabError("a jitter is at most the delay")


def _known(kind: str, name: str, there: Mapping[str, object]) -> None:
    if name not in there:
        near = ", ".join(list(there)[:20])
        raise LabError(f"there is no {kind} {name!r}", f"{kind}s: {near}{' …' if len(there) > 20 else ''}")


def of_impairment(link: str, impairment: Impairment) -> list[Fault]:
    """Return what a link of the topology suffers from the beginning."""
    found: list[Fault] = []
    if impairment.loss_percent:
        found.append(Loss(link, impairment.loss_percent))
    if impairment.rate_bits:
        found.append(Rate(link, impairment.rate_bits))
    if impairment.delay_seconds:
        found.append(Delay(link, impairment.delay_seconds, impairment.jitter_seconds))
    return found


def hearing(cable: Cable, sender: str) -> list[tuple[Plug, Plug]]:
    """Return ``(sending, hearing)`` ends for what ``sender`` sends, "" for both directions."""
    one, other = cable.ends
    return [(a, b) for a, b in ((one, other), (other, one)) if not sender or a.shown == sender]


# rules

Rules = dict[str, dict[str, list[str]]]
"""Place → device → rules of its ingress."""


def rules_of(faults: Iterable[Fault], plan: Plan, *, shaping: bool) -> Rules:
    """Return the rules of all faults. With ``shaping`` rates are the work of queueing disciplines."""
    rules: Rules = {}

    def add(plug: Plug, *texts: str) -> None:
        rules.setdefault(plug.place, {}).setdefault(plug.name, []).extend(texts)

    for fault in faults:
        if isinstance(fault, Partition):
            _partition(fault, plan, add)
        elif isinstance(fault, Pause):
            for cable in _cables_of(plan, fault.node):
                for plug in cable.ends:
                    add(plug, "counter drop")
        elif isinstance(fault, OneWay | Loss | Rate) and fault.link in plan.cables:
            for _, plug in hearing(plan.cables[fault.link], fault.sender):
                if isinstance(fault, OneWay):
                    add(plug, "counter drop")
                elif isinstance(fault, Loss):
                    add(plug, *(f"{which} counter drop".strip() for which in _lost(fault, plug)))
                elif not shaping:
                    rate = max(fault.bits // 8, 1)
                    add(plug, f"limit rate over {rate} bytes/second burst {BURST_BYTES} bytes counter drop")
    return rules


SEEDED = ("meta protocol ip", "meta protocol ip6 meta l4proto != ipv6-icmp", "icmpv6 type { echo-request, echo-reply }")
"""What counts for a seeded loss, each by itself: not how neighbours find each other, which comes when the kernel likes."""


def _lost(fault: Loss, plug: Plug) -> list[str]:
    if fault.percent >= 100:
        return [""]
    if fault.seed is None:
        return [f"numgen random mod 100000 < {round(fault.percent * 1000)}"]
    chosen = random.Random(f"{fault.seed}/{fault.link}/{plug.shown}")
    slots = sorted(chosen.sample(range(LOSS_SLOTS), max(round(fault.percent / 100 * LOSS_SLOTS), 1)))
    among = ", ".join(map(str, slots))
    return [f"{which} numgen inc mod {LOSS_SLOTS} {{ {among} }}" for which in SEEDED]


def _cables_of(plan: Plan, node: str) -> list[Cable]:
    return [cable for cable in plan.cables.values() if node in (cable.ends[0].place, cable.ends[1].place)]


def _partition(fault: Partition, plan: Plan, add: object) -> None:
    """Between groups nothing passes, by hardware address (neighbours) and by IP address (over routers), both at the node
    and where its frames arrive next, before a router gives them another address."""
    assert callable(add)
    for group in fault.groups:
        others = [node for other in fault.groups if other is not group for node in other]
        interfaces = [one for node in others for one in plan.nodes[node].interfaces]
        macs = ", ".join(one.mac for one in interfaces)
        by_family = {
            version: ", ".join(
                str(address.ip) for one in interfaces for address in one.addresses if address.version == version
            )
            for version in (4, 6)
        }
        words = {4: "ip", 6: "ip6"}
        for node in group:
            for cable in _cables_of(plan, node):
                for plug in cable.ends:
                    side = "s" if plug.place == node else "d"
                    if macs:
                        add(plug, f"ether {side}addr {{ {macs} }} counter drop")
                    for version, addresses in by_family.items():
                        if addresses:
                            add(plug, f"{words[version]} {side}addr {{ {addresses} }} counter drop")


def nft_text(devices: Mapping[str, list[str]]) -> str:
    """Return the faults' table of one namespace, in place of the one that is there."""
    head = f"table netdev {TABLE}\ndelete table netdev {TABLE}\n"
    if not devices:
        return head
    chains = []
    for number, (device, rules) in enumerate(devices.items()):
        hook = f'type filter hook ingress device "{device}" priority -500; policy accept;'
        chains.append(
            "\n".join([f"  chain device{number} {{", f"    {hook}", *(f"    {rule}" for rule in rules), "  }"])
        )
    return "\n".join([f"{head}table netdev {TABLE} {{", *chains, "}", ""])


def shaped(faults: Iterable[Fault], plan: Plan) -> dict[tuple[str, int], Impairment]:
    """Return which ends send late or slowly: (place, number of the link) → how."""
    found: dict[tuple[str, int], Impairment] = {}
    for fault in faults:
        if not isinstance(fault, Rate | Delay) or fault.link not in plan.cables:
            continue
        for plug, _ in hearing(plan.cables[fault.link], fault.sender):
            before = found.get((plug.place, plug.number), Impairment())
            if isinstance(fault, Rate):
                after = Impairment(0, fault.bits, before.delay_seconds, before.jitter_seconds)
            else:
                after = Impairment(0, before.rate_bits, fault.seconds, fault.jitter_seconds)
            found[plug.place, plug.number] = after
    return found


def down(faults: Iterable[Fault], plan: Plan) -> dict[str, Plug]:
    """Return the links that are cut, each with the end that is taken down: a bridge's where there is one, because a node
    whose own interface goes down forgets its routes."""
    found: dict[str, Plug] = {}
    for fault in faults:
        if isinstance(fault, Cut) and fault.link in plan.cables:
            ends = plan.cables[fault.link].ends
            found[fault.link] = next((plug for plug in ends if plug.place == FABRIC), ends[1])
    return found
