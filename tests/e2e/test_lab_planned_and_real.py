"""Laboratories by chance in real namespaces: who reaches whom is what the plan says, before and after changes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.lab import checking
from sampan.lab.fabric import Fabric
from sampan.lab.faults import Partition
from sampan.lab.injury import Injury
from sampan.lab.plan import Plan
from sampan.lab.planning import plan
from sampan.lab.reachability import Pair, covering, every
from sampan.lab.reading import read
from tests.unit.lab.topologies import topologies

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
REAL = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def real(made: Plan) -> Iterator[Fabric]:
    fabric = Fabric()
    try:
        fabric.build(made)
        yield fabric
    finally:
        fabric.close()


def held(fabric: Fabric, made: Plan) -> None:
    verdict = checking.check(fabric.places, made, every(made))
    assert verdict.well, verdict.lines()


@REAL
@given(topologies())
def test_what_is_planned_is_what_answers(topology: dict[str, Any]) -> None:
    made = plan(read(topology))
    with real(made) as fabric:
        held(fabric, made)


@REAL
@given(topologies(most_nodes=5), topologies(most_nodes=5))
def test_one_becomes_the_other_by_difference(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = plan(read(one))
    after = plan(read(other), before)
    with real(before) as fabric:
        fabric.change(before, after)
        held(fabric, after)


@REAL
@given(topologies(most_nodes=5), st.data())
def test_a_partition_parts_its_groups_and_nobody_else(topology: dict[str, Any], data: st.DataObject) -> None:
    made = plan(read(topology))
    names = list(made.nodes)
    side = dict(
        zip(names, data.draw(st.lists(st.integers(0, 2), min_size=len(names), max_size=len(names))), strict=True)
    )
    groups = [tuple(name for name in names if side[name] == number) for number in (1, 2)]
    if not all(groups):
        return

    def parted(pair: Pair) -> bool:
        """Whether a packet or its answer would go from one group to the other, over whomever."""
        return {1, 2} <= {side[pair.source], side[pair.target]} or any(
            {side[one], side[other]} == {1, 2}
            for way in (pair.path, pair.back)
            for one, other in itertools.pairwise(way)
        )

    with real(made) as fabric:
        Injury(fabric).inflict(made, [Partition((groups[0], groups[1]))])
        pairs = [pair._replace(reachable=pair.reachable and not parted(pair)) for pair in every(made)]
        verdict = checking.check(fabric.places, made, pairs)
        assert verdict.well, verdict.lines()


def test_a_check_finds_what_is_not_as_planned() -> None:
    made = plan(read({"subnets": ["lan"], "nodes": [{"name": name, "interfaces": ["lan"]} for name in "abc"]}))
    with real(made) as fabric:
        fabric.nft(
            "b", "table inet t {\n chain c {\n type filter hook input priority 0\n icmp type echo-request drop\n }\n}\n"
        )
        verdict = checking.check(fabric.places, made, covering(made), patient=False)
        assert {(pair.source, pair.target) for pair in verdict.missing} == {("a", "b")}
        assert not verdict.unexpected


def test_a_check_shared_by_processes_misses_nothing() -> None:
    nodes = [{"name": f"n{number}", "interfaces": ["lan"]} for number in range(34)]
    made = plan(read({"subnets": ["lan"], "nodes": nodes}))
    pairs = every(made)
    assert len(pairs) > 2 * checking.ENOUGH
    with real(made) as fabric:
        assert checking.check(fabric.places, made, pairs, processes=2).well
        rule = "type filter hook input priority 0\n icmp type echo-request drop\n"
        for deaf in ("n0", "n33"):
            fabric.nft(deaf, f"table inet t {{\n chain c {{\n {rule} }}\n}}\n")
        verdict = checking.check(fabric.places, made, pairs, patient=False, processes=2)
        assert {pair.target for pair in verdict.missing} == {"n0", "n33"} and len(verdict.missing) == 2 * 33
        wrong = [pair._replace(reachable=pair.target in ("n0", "n33")) for pair in pairs]
        assert len(checking.check(fabric.places, made, wrong, patient=False).unexpected) == len(pairs) - 2 * 33


def test_a_check_leaves_few_neighbours_behind() -> None:
    nodes = [{"name": f"n{number}", "interfaces": ["lan"]} for number in range(12)]
    made = plan(read({"subnets": ["lan"], "nodes": nodes}))

    def known(fabric: Fabric) -> int:
        listed = [
            place.run(lambda: subprocess.run(["ip", "neigh"], capture_output=True, text=True, check=True).stdout)
            for place in fabric.places.values()
        ]
        return "".join(listed).count("lladdr")

    with real(made) as fabric:
        assert checking.check(fabric.places, made, every(made)).well and known(fabric) == 0


def test_a_check_finds_ways_that_must_not_be() -> None:
    topology = {
        "subnets": ["one", "two"],
        "nodes": [
            {"name": "a", "interfaces": ["one"], "planned_routes": False},
            {"name": "r", "router": True, "interfaces": ["one", "two"]},
            {"name": "b", "interfaces": ["two"]},
        ],
    }
    closed, opened = (
        read(topology),
        read({**topology, "nodes": [{**topology["nodes"][0], "planned_routes": True}, *topology["nodes"][1:]]}),
    )  # type: ignore[dict-item, call-overload]
    with real(plan(opened)) as fabric:
        verdict = checking.check(fabric.places, plan(closed), every(plan(closed)), patient=False)
        assert ("a", "b") in {(pair.source, pair.target) for pair in verdict.unexpected}


def test_a_bridge_that_carries_another_subnet_keeps_its_ports() -> None:
    def of(subnet: str) -> dict[str, Any]:
        nodes = [{"name": name, "interfaces": [{"subnet": subnet, "bridge": "sw", "link": name}]} for name in "ab"]
        return {"subnets": ["one", "two"], "bridges": [{"name": "sw", "subnet": subnet}], "nodes": nodes}

    before = plan(read(of("one")))
    after = plan(read(of("two")), before)
    assert before.cables == after.cables
    with real(before) as fabric:
        fabric.change(before, after)
        held(fabric, after)
