"""A laboratory to look at: as text for a terminal, as SVG for everything else. Pure; the same plan is the same picture.

In the picture routers and subnets are laid out by springs (few of them), the nodes of a subnet stand around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sampan.lab import faults
from sampan.lab.faults import Fault
from sampan.lab.plan import Plan

Point = tuple[float, float]
SPACING = 190.0
ROUNDS = 150
NODE_WIDTH, NODE_HEIGHT = 112, 34


def text(plan: Plan, inflicted: Sequence[Fault] = ()) -> str:
    """Return subnets with their members, then the cables between bridges and the faults."""
    lines = [f"{plan.name}: {len(plan.nodes)} nodes, {len(plan.subnets)} subnets, {len(plan.cables)} links"]
    hurt = {name: _faults_of(name, inflicted) for name in plan.cables}
    for subnet in plan.subnets.values():
        networks = ", ".join(str(network) for network in subnet.networks)
        bridges = [name for name, bridge in plan.bridges.items() if bridge.subnet == subnet.name]
        over = f"  bridge {', '.join(bridges)}" if bridges else "  a link between two nodes"
        first = plan.nodes[subnet.members[0][0]].interface(subnet.members[0][1]) if subnet.members else None
        if first is not None and first.vlan:
            over = f"  VLAN {first.vlan}"
        lines += ["", f"{subnet.name}  {networks}{over}"]
        for number, (node, name) in enumerate(subnet.members):
            branch = "└─" if number == len(subnet.members) - 1 else "├─"
            one = plan.nodes[node].interface(name)
            addresses = " ".join(str(address.ip) for address in one.addresses)
            role = " router" if plan.nodes[node].router else ""
            role += " nat" if name in plan.nodes[node].nat else ""
            wounds = f"  !! {'; '.join(hurt[one.link])}" if hurt.get(one.link) else ""
            lines.append(f"  {branch} {node}{role}  {name} {addresses}  [{one.link}]{wounds}")
    trunks = [cable for cable in plan.cables.values() if cable.ends[0].bridge and cable.ends[1].bridge]
    if trunks:
        lines.append("")
        lines += [
            f"{cable.ends[0].bridge} ─── {cable.ends[1].bridge}  [{cable.name}]"
            + (f"  !! {'; '.join(hurt[cable.name])}" if hurt[cable.name] else "")
            for cable in trunks
        ]
    if alone := [name for name, node in plan.nodes.items() if not node.interfaces]:
        lines += ["", f"without links: {', '.join(alone)}"]
    others = [fault for fault in inflicted if not hasattr(fault, "link")]
    if others:
        lines += ["", *(f"!! {faults.describe(fault)}" for fault in others)]
    return "\n".join([*lines, ""])


def _faults_of(link: str, inflicted: Sequence[Fault]) -> list[str]:
    return [
        faults.describe(fault).replace(f" {link}", "", 1) for fault in inflicted if getattr(fault, "link", "") == link
    ]


def svg(plan: Plan, inflicted: Sequence[Fault] = ()) -> str:
    """Return a whole SVG document."""
    places = _places(plan)
    left = min(x for x, _ in places.values()) - NODE_WIDTH
    top = min(y for _, y in places.values()) - 2 * NODE_HEIGHT
    width = max(x for x, _ in places.values()) - left + NODE_WIDTH
    height = max(y for _, y in places.values()) - top + 2 * NODE_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(plan.name)}</title>",
        "<style>line{stroke:#667;stroke-width:1.5}.hurt{stroke:#c22;stroke-dasharray:5 4}rect{fill:#fff;stroke:#345}"
        ".router{fill:#dbe9ff}.paused{fill:#ddd}ellipse{fill:#eef6e6;stroke:#574}text{text-anchor:middle}.small{fill:#666;font-size:9px}"
        "</style>",
    ]
    paused = {fault.node for fault in inflicted if isinstance(fault, faults.Pause)}
    for subnet in plan.subnets.values():
        for member, name in subnet.members:
            link = plan.nodes[member].interface(name).link
            parts.append(_line(places[f"node {member}"], places[f"subnet {subnet.name}"], link, inflicted))
    for subnet in plan.subnets.values():
        x, y = places[f"subnet {subnet.name}"]
        parts.append(f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="84" ry="22"/>')
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}">{escape(subnet.name)}</text>')
        parts.append(_small(x, y + 12, ", ".join(str(network) for network in subnet.networks)))
    for node in plan.nodes.values():
        x, y = places[f"node {node.name}"]
        kind = "paused" if node.name in paused else "router" if node.router else "node"
        corner = (
            f'x="{x - NODE_WIDTH / 2:.0f}" y="{y - NODE_HEIGHT / 2:.0f}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}"'
        )
        tip = "\n".join(f"{one.name} {' '.join(map(str, one.addresses))}" for one in node.interfaces)
        parts.append(f'<g><title>{escape(tip)}</title><rect class="{kind}" {corner} rx="5"/>')
        parts.append(f'<text x="{x:.0f}" y="{y - 2:.0f}">{escape(node.name)}</text>')
        addresses = [str(address.ip) for one in node.interfaces for address in one.addresses]
        said = addresses[0] + (" …" if len(addresses) > 1 else "") if addresses else ""
        parts.append(f"{_small(x, y + 11, said)}</g>")
    return "\n".join([*parts, "</svg>", ""])


def _small(x: float, y: float, said: str) -> str:
    return f'<text class="small" x="{x:.0f}" y="{y:.0f}">{escape(said)}</text>'


def _line(one: Point, other: Point, link: str, inflicted: Sequence[Fault]) -> str:
    wounds = _faults_of(link, inflicted)
    kind = ' class="hurt"' if wounds else ""
    ends = f'x1="{one[0]:.0f}" y1="{one[1]:.0f}" x2="{other[0]:.0f}" y2="{other[1]:.0f}"'
    middle = _small((one[0] + other[0]) / 2, (one[1] + other[1]) / 2, "; ".join(wounds)) if wounds else ""
    return f"<line{kind} {ends}><title>{escape(link)}</title></line>{middle}"


def _places(plan: Plan) -> dict[str, Point]:
    """Return where subnets and nodes stand: those that join others by springs, the rest around its subnet."""
    joined = {node.name for node in plan.nodes.values() if len(node.interfaces) > 1}
    backbone = [f"subnet {name}" for name in plan.subnets] + [f"node {name}" for name in plan.nodes if name in joined]
    edges = [
        (f"subnet {subnet.name}", f"node {node}")
        for subnet in plan.subnets.values()
        for node, _ in subnet.members
        if node in joined
    ]
    places = _springs(backbone, edges)
    alone = [name for name, node in plan.nodes.items() if not node.interfaces]
    for subnet in plan.subnets.values():
        hosts = [node for node, _ in subnet.members if node not in joined]
        x, y = places[f"subnet {subnet.name}"]
        away = math.atan2(y, x) if (x, y) != (0.0, 0.0) else 0.0
        radius = max(SPACING * 0.7, len(hosts) * NODE_WIDTH / 5)
        for number, node in enumerate(hosts):
            angle = away + (number - (len(hosts) - 1) / 2) * min(2 * math.pi / max(len(hosts), 1), 0.9)
            places[f"node {node}"] = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    below = max((y for _, y in places.values()), default=0.0) + SPACING / 2
    for number, node in enumerate(alone):
        places[f"node {node}"] = (number * (NODE_WIDTH + 20), below)
    return places


def _springs(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, Point]:
    """Lay a graph out by forces (Fruchterman and Reingold 1991), from a circle, so that nothing is left to chance."""
    count = len(names)
    around = SPACING * max(count, 1) / 6
    spots = {
        name: [around * math.cos(2 * math.pi * i / count), around * math.sin(2 * math.pi * i / count)]
        for i, name in enumerate(names)
    }
    if count > 1:
        for turn in range(min(ROUNDS, 400_000 // (count * count))):
            _push(spots, names, edges, limit=SPACING * (1 - turn / ROUNDS))
    return {name: (x, y) for name, (x, y) in spots.items()}


def _push(
    spots: dict[str, list[float]], names: Sequence[str], edges: Sequence[tuple[str, str]], *, limit: float
) -> None:
    force = {name: [0.0, 0.0] for name in names}

    def act(one: str, other: str, strength: float, dx: float, dy: float) -> None:
        force[one][0] += dx * strength
        force[one][1] += dy * strength
        force[other][0] -= dx * strength
        force[other][1] -= dy * strength

    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            dx, dy = spots[one][0] - spots[other][0], spots[one][1] - spots[other][1]
            act(one, other, SPACING * SPACING / max(dx * dx + dy * dy, 1), dx, dy)
    for one, other in edges:
        dx, dy = spots[one][0] - spots[other][0], spots[one][1] - spots[other][1]
        act(one, other, -math.hypot(dx, dy) / SPACING, dx, dy)
    for name, (dx, dy) in force.items():
        length = math.hypot(dx, dy)
        if length > 0:
            step = min(length, limit) / length
            spots[name][0] += dx * step
            spots[name][1] += dy * step
