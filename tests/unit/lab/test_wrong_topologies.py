"""Each mistake in a topology is told by the path of its field; several are told at once; none raises anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.lab.errors import TopologyError
from sampan.lab.planning import plan
from sampan.lab.reading import read

LEFT = {"name": "left", "cidr": "10.1.0.0/24"}
RIGHT = {"name": "right", "cidr": "10.2.0.0/24"}


def node(name: str, *interfaces: Any, **fields: Any) -> dict[str, Any]:
    return {"name": name, "interfaces": list(interfaces), **fields}


def problems(**topology: Any) -> tuple[str, ...]:
    with pytest.raises(TopologyError) as refused:
        plan(read(topology))
    return refused.value.problems


CASES: list[tuple[dict[str, Any], str]] = [
    (
        {"nodes": [node("a"), node("b")], "links": [{"ends": ["a", "b"], "rate": "2000000gbit"}]},
        "links[0].rate: must be at most 1000000gbit",
    ),
    (
        {"nodes": [node("a"), node("b")], "links": [{"ends": ["a", "b"], "delay": "99999s"}]},
        "links[0].delay: must be at most 3600s",
    ),
    ({}, "nodes: a laboratory has at least one node"),
    ({"nodes": "a"}, "nodes: must be a list, is 'a'"),
    (
        {"nodes": [node("a")], "colour": 1},
        "colour: unknown field; there are name, pools, subnets, bridges, nodes, links",
    ),
    ({"nodes": [node("a", colour="red")]}, "nodes[0].colour: unknown field"),
    ({"nodes": [{"interfaces": []}]}, "nodes[0].name: required"),
    ({"nodes": [node("a b")]}, "nodes[0].name: must be a name of letters, digits and '-', at most 63, is 'a b'"),
    ({"nodes": [node("a"), node("a")]}, "nodes[1].name: 'a' is the name of nodes[0] already"),
    ({"nodes": [node("a")], "subnets": [LEFT, LEFT]}, "subnets[1].name: 'left' is the name of subnets[0] already"),
    (
        {"nodes": [node("a")], "subnets": [LEFT], "bridges": [{"name": "a", "subnet": "left"}]},
        "bridges[0].name: 'a' is the name of nodes[0] already",
    ),
    (
        {"nodes": [node("a")], "subnets": [LEFT, {"name": "in", "cidr": "10.1.0.128/25"}]},
        "subnets[1].cidr: 10.1.0.128/25 overlaps 10.1.0.0/24 of subnet 'left'",
    ),
    ({"nodes": [node("a")], "subnets": [{"name": "x", "cidr": "10.1.0.0/33"}]}, "subnets[0].cidr: must be a range"),
    (
        {"nodes": [node("a", "middle")], "subnets": [LEFT]},
        "nodes[0].interfaces[0].subnet: there is no subnet 'middle'; there are left",
    ),
    (
        {"nodes": [node("a", {"subnet": "left", "name": "a-very-long-name0"})], "subnets": [LEFT]},
        "nodes[0].interfaces[0].name: 'a-very-long-name0' is 17 bytes long; Linux takes at most 15",
    ),
    (
        {"nodes": [node("a", {"subnet": "left", "name": "lo"})], "subnets": [LEFT]},
        "nodes[0].interfaces[0].name: 'lo' cannot be the name of an interface",
    ),
    (
        {"nodes": [node("a"), node("b"), node("c", {"subnet": "left", "address": "10.9.0.1"})], "subnets": [LEFT]},
        "nodes[2].interfaces[0].address: 10.9.0.1 is outside subnet 'left' (10.1.0.0/24)",
    ),
    (
        {"nodes": [node("a", {"subnet": "left", "address": "10.1.0.0"})], "subnets": [LEFT]},
        "nodes[0].interfaces[0].address: 10.1.0.0 is the address of the subnet 10.1.0.0/24 itself",
    ),
    (
        {"nodes": [node("a", {"subnet": "left", "address": "10.1.0.255"})], "subnets": [LEFT]},
        "nodes[0].interfaces[0].address: 10.1.0.255 is the broadcast address of 10.1.0.0/24",
    ),
    (
        {"nodes": [node("a", {"subnet": "left", "address": "fd00::1"})], "subnets": [LEFT]},
        "nodes[0].interfaces[0].address: fd00::1 is outside subnet 'left' (10.1.0.0/24)",
    ),
    (
        {"nodes": [node(n, {"subnet": "left", "address": "10.1.0.5"}) for n in "ab"], "subnets": [LEFT]},
        "nodes[1].interfaces[0].address: 10.1.0.5 is nodes[0].interfaces[0]'s already",
    ),
    (
        {"nodes": [node("a", "left", "left")], "subnets": [LEFT]},
        "nodes[0].interfaces[1]: node 'a' is in subnet 'left' already",
    ),
    (
        {"nodes": [node(n, "tiny") for n in "abc"], "subnets": [{"name": "tiny", "cidr": "10.1.0.0/30"}]},
        "nodes[2].interfaces[0]: 10.1.0.0/30 of subnet 'tiny' is full",
    ),
    (
        {"nodes": [node("a", "left", routes=[{"to": "10.9.0.0/16", "via": "10.8.0.1"}])], "subnets": [LEFT]},
        "nodes[0].routes[0].via: 10.8.0.1 is in no subnet of node 'a'",
    ),
    (
        {"nodes": [node("a", "left", routes=[{"to": "default", "via": "10.1.0.77"}])], "subnets": [LEFT]},
        "nodes[0].routes[0].via: nobody in subnet 'left' has the address 10.1.0.77",
    ),
    (
        {
            "nodes": [node("a", "left", routes=[{"to": "default", "via": "10.1.0.2"}]), node("b", "left")],
            "subnets": [LEFT],
        },
        "nodes[0].routes[0].via: 10.1.0.2 is b/eth0, which is no router",
    ),
    ({"nodes": [node("a", "left", nat="left")], "subnets": [LEFT]}, "nodes[0].nat[0]: node 'a' is no router"),
    (
        {"nodes": [node("a", "left", router=True, nat=["right"])], "subnets": [LEFT, RIGHT]},
        "nodes[0].nat[0]: node 'a' is in no subnet 'right'",
    ),
    (
        {
            "nodes": [node("a", "left")],
            "subnets": [LEFT],
            "bridges": [{"name": f"sw{i}", "subnet": "left"} for i in range(3)],
            "links": [{"ends": [f"sw{i}", f"sw{(i + 1) % 3}"]} for i in range(3)],
        },
        "links[2].ends: sw2 and sw0 are joined already: bridges in a ring loop frames",
    ),
    (
        {
            "nodes": [node("a", "left")],
            "subnets": [LEFT],
            "bridges": [{"name": "sw1", "subnet": "left"}, {"name": "sw2", "subnet": "left"}],
        },
        "bridges[1]: 'sw2' carries subnet 'left' but no link joins it to sw1",
    ),
    (
        {
            "nodes": [node("a", "left")],
            "subnets": [LEFT, RIGHT],
            "bridges": [{"name": "sw1", "subnet": "left"}, {"name": "sw2", "subnet": "right"}],
            "links": [{"ends": ["sw1", "sw2"]}],
        },
        "links[0].ends: joins subnets 'left' and 'right' without a router",
    ),
    ({"nodes": [node("a")], "links": [{"ends": ["a", "x"]}]}, "links[0].ends[1]: there is no node or bridge 'x'"),
    ({"nodes": [node("a")], "links": [{"ends": ["a"]}]}, "links[0].ends: a link has two ends, not 1"),
    ({"nodes": [node("a")], "links": [{"ends": ["a", "a"]}]}, "links[0].ends: both ends are 'a'"),
    (
        {"nodes": [node("a", "left"), node("b")], "subnets": [LEFT], "links": [{"ends": ["a", "b"], "subnet": "left"}]},
        "links[0].subnet: subnet 'left' has other members",
    ),
    (
        {"nodes": [node("a"), node("b")], "links": [{"ends": ["a", "b"], "loss": "120%"}]},
        "links[0].loss: must be a percentage from 0 to 100, is '120%'",
    ),
    (
        {"nodes": [node("a"), node("b")], "links": [{"ends": ["a", "b"], "rate": "fast"}]},
        "links[0].rate: must be a rate such as 10mbit, is 'fast'",
    ),
    ({"nodes": [node("a", run=["'open"])]}, "nodes[0].run[0].command: cannot be split into words"),
    ({"nodes": [node("a", files={"etc/x": "y"})]}, "nodes[0].files[etc/x]: must be the absolute path of a file"),
    ({"nodes": [node("a", env={"A": ["b"]})]}, "nodes[0].env[A]: must be a text, is a list"),
    (
        {"nodes": [node("a", "tag")], "subnets": [LEFT, {"name": "tag", "vlan": 10, "over": "left"}]},
        "nodes[0].interfaces[0].subnet: 'tag' is VLAN 10 over 'left', where node 'a' is not",
    ),
    (
        {"nodes": [node("a")], "subnets": [{"name": "tag", "vlan": 10}]},
        "subnets[0].over: required: vlan and over belong together",
    ),
    (
        {"nodes": [node("a")], "subnets": [{"name": "t", "vlan": 5000, "over": "t"}]},
        "subnets[0].vlan: must be a number from 1 to 4094",
    ),
    (
        {"pools": ["10.0.0.0/25"], "nodes": [node("a", "x")], "subnets": ["x"]},
        "pools: 10.0.0.0/25 has no /24 left for subnet 'x'",
    ),
]


@pytest.mark.parametrize(("topology", "message"), CASES, ids=[message.split(":")[0] for _, message in CASES])
def test_a_mistake_is_told_by_its_path(topology: dict[str, Any], message: str) -> None:
    found = problems(**topology)
    assert any(problem.startswith(message) for problem in found), found


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(nodes=[node("a b", 7, colour=1), {"name": "b", "router": "yes"}], links=[{}])
    assert [problem.split(":")[0] for problem in found] == [
        "nodes[0].colour",
        "nodes[0].name",
        "nodes[0].interfaces[0]",
        "nodes[1].router",
        "links[0].ends",
    ]


WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "left", "10.1.0.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "name",
    "subnet",
    "interfaces",
    "ends",
    "cidr",
    "address",
    "router",
    "nat",
    "routes",
    "to",
    "via",
    "run",
    "files",
]
SHAPED = st.recursive(
    WILD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["name", "pools", "subnets", "bridges", "nodes", "links"]), SHAPED, max_size=6))
def test_whatever_is_read_is_planned_or_refused(data: dict[str, Any]) -> None:
    try:
        plan(read(data))
    except TopologyError as error:
        assert error.problems
        assert all(": " in problem for problem in error.problems)
