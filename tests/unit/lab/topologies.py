"""Topologies by chance: small ones of every kind that needs no more of a kernel than namespaces."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def topologies(draw: st.DrawFn, most_nodes: int = 6) -> dict[str, Any]:
    """Return a topology that is right: with or without routers, NAT and routes, of links and bridges, one family or two."""
    subnets = [f"s{number}" for number in range(draw(st.integers(1, 3)))]
    bridges = []
    links: list[dict[str, Any]] = []
    for name in subnets:
        if draw(st.booleans()):
            bridges += [{"name": f"{name}x{number}", "subnet": name} for number in range(2)]
            links.append({"ends": [f"{name}x0", f"{name}x1"]})
    nodes = [draw(node(f"n{number}", subnets, bridges)) for number in range(draw(st.integers(2, most_nodes)))]
    names = [one["name"] for one in nodes]
    for _ in range(draw(st.integers(0, 3))):
        ends = draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))
        if not any(set(link["ends"]) == set(ends) for link in links):
            links.append({"ends": ends})
    pools = draw(st.sampled_from([["10.0.0.0/8"], ["fd00::/40"], ["10.0.0.0/8", "fd00::/40"]]))
    return {"pools": pools, "subnets": subnets, "bridges": bridges, "nodes": nodes, "links": links}


@st.composite
def node(draw: st.DrawFn, name: str, subnets: list[str], bridges: list[dict[str, str]]) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(subnets), max_size=len(subnets), unique=True))
    interfaces: list[Any] = []
    for subnet in chosen:
        there = [bridge["name"] for bridge in bridges if bridge["subnet"] == subnet]
        interfaces.append({"subnet": subnet, "bridge": draw(st.sampled_from(there))} if there else subnet)
    made: dict[str, Any] = {"name": name, "interfaces": interfaces, "router": draw(st.booleans())}
    if made["router"] and chosen and draw(st.integers(0, 3)) == 0:
        made["nat"] = [draw(st.sampled_from(chosen))]
    if draw(st.integers(0, 5)) == 0:
        made["planned_routes"] = False
    return made
