"""What a topology becomes: addresses, gateways, routes, cables, and who must reach whom."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from sampan.lab.plan import Plan
from sampan.lab.planning import plan
from sampan.lab.reachability import covering, every
from sampan.lab.reading import read

from .topologies import topologies


def planned(**topology: Any) -> Plan:
    return plan(read(topology))


def office() -> dict[str, Any]:
    """Two sites behind routers, a backbone between them, one site behind NAT."""
    return {
        "pools": ["10.0.0.0/8", "fd00:5a::/48"],
        "subnets": ["site1", "site2", "backbone"],
        "nodes": [
            {"name": "r1", "router": True, "interfaces": ["site1", "backbone"]},
            {"name": "r2", "router": True, "nat": "backbone", "interfaces": ["site2", "backbone"]},
            {"name": "h1", "interfaces": ["site1"]},
            {"name": "h2", "interfaces": ["site2"]},
        ],
    }


def routes(made: Plan, node: str) -> set[tuple[str, str]]:
    return {(str(route.to), str(route.via)) for route in made.nodes[node].routes}


def reached(made: Plan) -> set[tuple[str, str]]:
    pairs = every(made)
    refused = {(pair.source, pair.target) for pair in pairs if not pair.reachable}
    return {(pair.source, pair.target) for pair in pairs} - refused


def test_ranges_and_addresses_are_filled_in_routers_first() -> None:
    made = planned(**office())
    assert [str(network) for network in made.subnets["site1"].networks] == ["10.0.0.0/24", "fd00:5a::/64"]
    assert [str(a) for a in made.nodes["r1"].interface("eth0").addresses] == ["10.0.0.1/24", "fd00:5a::1/64"]
    assert [str(a) for a in made.nodes["h1"].interface("eth0").addresses] == ["10.0.0.2/24", "fd00:5a::2/64"]


def test_a_host_has_a_default_route_and_a_router_one_for_each_subnet() -> None:
    made = planned(**office())
    assert routes(made, "h1") == {("0.0.0.0/0", "10.0.0.1"), ("::/0", "fd00:5a::1")}
    assert routes(made, "r2") == {("10.0.0.0/24", "10.0.2.1"), ("fd00:5a::/64", "fd00:5a:0:2::1")}
    assert routes(made, "r1") == set(), "nothing leads behind NAT"


def test_nat_lets_out_and_not_in() -> None:
    found = reached(planned(**office()))
    assert ("h2", "h1") in found
    assert ("h2", "r1") in found
    assert ("h1", "h2") not in found


def test_a_way_that_is_not_the_default_has_a_route_of_its_own() -> None:
    made = planned(
        subnets=["a", "b", "c", "d"],
        nodes=[
            {"name": "h", "interfaces": ["a", "b"]},
            {"name": "r1", "router": True, "interfaces": ["a", "c"]},
            {"name": "r2", "router": True, "interfaces": ["b", "d"]},
            {"name": "x", "interfaces": ["c"]},
            {"name": "y", "interfaces": ["d"]},
        ],
    )
    assert routes(made, "h") == {("0.0.0.0/0", "10.64.0.1"), ("10.64.3.0/24", "10.64.1.1")}
    assert {("h", "x"), ("h", "y")} <= reached(made)
    assert ("x", "y") not in reached(made), "a host forwards nothing"


def test_declared_routes_come_first_and_planned_ones_can_be_left_out() -> None:
    topology = office()
    topology["nodes"][2]["planned_routes"] = False
    made = planned(**topology)
    assert routes(made, "h1") == set()
    assert ("h1", "r2") not in reached(made)
    topology["nodes"][2]["routes"] = [{"to": "default", "via": "10.0.0.1"}]
    assert routes(planned(**topology), "h1") == {("0.0.0.0/0", "10.0.0.1")}


def test_a_link_between_nodes_is_a_subnet_of_its_own() -> None:
    made = planned(nodes=[{"name": "a"}, {"name": "b"}], links=[{"ends": ["a:up0", "b"]}])
    assert [str(network) for network in made.subnets["a-b"].networks] == ["10.64.0.0/30"]
    assert made.bridges == {}
    assert [end.name for end in made.cables["a-b"].ends] == ["up0", "eth0"]


def test_bridges_of_a_subnet_are_joined_by_links() -> None:
    made = planned(
        subnets=["lan"],
        bridges=[{"name": "sw1", "subnet": "lan"}, {"name": "sw2", "subnet": "lan"}],
        nodes=[{"name": "a", "interfaces": ["lan"]}, {"name": "b", "interfaces": [{"subnet": "lan", "bridge": "sw2"}]}],
        links=[{"ends": ["sw1", "sw2"], "name": "trunk"}],
    )
    assert {name: [end.shown for end in cable.ends] for name, cable in made.cables.items()} == {
        "a-sw1": ["sw1", "a"],
        "b-sw2": ["sw2", "b"],
        "trunk": ["sw1", "sw2"],
    }


def test_a_vlan_lies_on_the_interface_that_carries_it() -> None:
    made = planned(
        subnets=["lan", {"name": "blue", "vlan": 10, "over": "lan"}],
        nodes=[{"name": name, "interfaces": ["lan", "blue"]} for name in "ab"],
    )
    one = made.nodes["a"].interface("eth0.10")
    assert (one.parent, one.vlan, one.link) == ("eth0", 10, "a-lan")
    assert len(made.cables) == 2


def test_long_names_become_devices_that_linux_takes() -> None:
    names = [f"a-node-with-a-very-long-name-{number}" for number in range(3)]
    made = planned(
        subnets=["a-subnet-of-a-long-name"],
        nodes=[{"name": n, "interfaces": ["a-subnet-of-a-long-name"]} for n in names],
    )
    devices = [bridge.name for bridge in made.bridges.values()] + [cable.ends[0].name for cable in made.cables.values()]
    assert all(len(name) <= 15 for name in devices)
    assert len(set(devices)) == 4


def test_what_does_not_change_keeps_addresses_and_numbers() -> None:
    topology = office()
    before = planned(**topology)
    topology["nodes"].insert(0, {"name": "new", "interfaces": ["site1", "site2"]})
    topology["subnets"].insert(0, "site0")
    after = plan(read(topology), before)
    for name, node in before.nodes.items():
        assert after.nodes[name].interfaces == node.interfaces
    assert all(after.cables[name] == cable for name, cable in before.cables.items())
    assert after.nodes["new"].interface("eth0").number >= 1000


def test_covering_pairs_ask_every_node_for_every_other_and_every_address() -> None:
    made = planned(**office())
    pairs = covering(made)
    assert len(pairs) < len(every(made))
    assert {address.ip for one in made.interfaces() for address in one.addresses} <= {
        address for pair in pairs for address in (pair.address, pair.sent_from if pair.symmetric else None)
    }


def test_a_range_that_has_become_too_small_is_another_one() -> None:
    before = planned(nodes=[{"name": "a"}, {"name": "b"}], links=[{"ends": ["a", "b"], "subnet": "x"}], subnets=["x"])
    assert [str(network) for network in before.subnets["x"].networks] == ["10.64.0.0/30"]
    after = plan(read({"nodes": [{"name": name, "interfaces": ["x"]} for name in "abcd"], "subnets": ["x"]}), before)
    assert [str(network) for network in after.subnets["x"].networks] == ["10.64.0.0/24"]


@given(topologies(), topologies())
def test_a_plan_is_sound(one: dict[str, Any], other: dict[str, Any]) -> None:
    sound(planned(**one), one, None)
    sound(plan(read(other), planned(**one)), other, planned(**one))


def sound(made: Plan, topology: dict[str, Any], kept: Plan | None) -> None:
    addresses = [address.ip for one in made.interfaces() for address in one.addresses]
    assert len(set(addresses)) == len(addresses)
    macs = [end.mac for cable in made.cables.values() for end in cable.ends]
    assert len(set(macs)) == len(macs)
    for node in made.nodes.values():
        numbers = [one.number for one in node.interfaces]
        assert len(set(numbers)) == len(numbers)
        for route in node.routes:
            assert any(route.via in address.network for address in node.interface(route.interface).addresses)
    assert plan(read(topology), kept) == made, "the same topology is the same plan"
