"""Who has to go: the fewest and least important, budgets respected while there is another way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.scheduler.cluster_state import cluster_of
from sampan.scheduler.cycle import Cycles, Refusal
from sampan.scheduler.framework import CycleState
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.plugins.default_preemption import DefaultPreemption
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.victims import Candidate, Trial, best, candidate
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import node, pod


def refusal(profile_on: ProfileOn, waiting: Object, nodes: list[Object], there: list[Object]) -> tuple[Refusal, Any]:
    """Return what a cycle and then the preemption say."""
    cluster = cluster_of(nodes, there)
    profile, state = profile_on(cluster), CycleState()
    found = Cycles(cluster).choose(profile, state, PodInfo(waiting))
    assert isinstance(found, Refusal)
    return found, profile.post_filter(state, PodInfo(waiting), found.statuses)


def started(number: int) -> Object:
    return {"startTime": f"2026-01-01T00:00:{number:02}Z"}


def test_the_node_that_loses_least_is_nominated(profile_on: ProfileOn) -> None:
    there = [
        pod("a", on="one", priority=5, requests={"cpu": "4"}),
        pod("b", on="two", priority=3, requests={"cpu": "2"}),
        pod("c", on="two", priority=3, requests={"cpu": "2"}),
        pod("d", on="three", priority=3, requests={"cpu": "4"}),
    ]
    waiting = pod(priority=10, requests={"cpu": "3"})
    _, result = refusal(profile_on, waiting, [node("one"), node("two"), node("three")], there)
    assert (result.status, result.nominated_node) == (None, "three")


def test_why_there_is_no_room_is_said_of_each_node(profile_on: ProfileOn) -> None:
    nodes = [node("one"), node("two"), node("three", unschedulable=True)]
    there = [pod("a", on="one", priority=10, requests={"cpu": "4"}), pod("b", on="two", priority=1)]
    there.append(pod("c", on="two", priority=20, requests={"cpu": "4"}))
    waiting = pod(priority=10, requests={"cpu": "3"})
    found, result = refusal(profile_on, waiting, nodes, there)
    assert found.message == "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    assert result.nominated_node == ""
    assert result.status.message == (
        "preemption: 0/3 nodes are available: 1 Insufficient cpu, "
        "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preemptionPolicy": "Never"}, "preemption: not eligible due to preemptionPolicy=Never."),
        (
            {"status": {"nominatedNodeName": "one"}},
            "preemption: not eligible due to a terminating pod on the nominated node.",
        ),
    ],
)
def test_who_may_not_preempt(profile_on: ProfileOn, spec: Any, message: str) -> None:
    ending = pod("a", on="one", priority=1, requests={"cpu": "4"})
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    ending["status"] = {"conditions": [target]}
    waiting = pod(priority=10, requests={"cpu": "3"}, **spec)
    _, result = refusal(profile_on, waiting, [node("one")], [ending])
    assert (result.status.message, result.nominated_node) == (message, None)


def test_who_ends_for_another_reason_holds_nobody_up(profile_on: ProfileOn) -> None:
    ending = pod("a", on="one", priority=1, requests={"cpu": "2"})
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    other = pod("b", on="one", priority=1, requests={"cpu": "2"})
    waiting = pod(priority=10, requests={"cpu": "3"}, status={"nominatedNodeName": "one"})
    _, result = refusal(profile_on, waiting, [node("one")], [ending, other])
    assert (result.status, result.nominated_node) == (None, "one")


def test_victims_that_do_not_show_it_yet_are_not_taken_again(profile_on: ProfileOn) -> None:
    nominations, started = Nominations(), list[str]()
    cluster = cluster_of([node("one")], [pod("a", on="one", priority=1, requests={"cpu": "4"})])
    profile = profile_on(cluster, nominations=nominations, started=started)
    plugin = profile.plugins["DefaultPreemption"]
    assert isinstance(plugin, DefaultPreemption)
    waiting = PodInfo(pod(priority=10, requests={"cpu": "3"}))
    for told in ("", "preemption: not eligible due to a terminating pod on the nominated node."):
        state = CycleState()
        found = Cycles(cluster).choose(profile, state, waiting)
        assert isinstance(found, Refusal)
        result = profile.post_filter(state, waiting, found.statuses)
        assert (result.status.message if result.status else "") == told
        if result.nominated_node:
            nominations.set(waiting, result.nominated_node)
        plugin.under_way.clear()  # the API has taken the deletions, the informer has not told of them yet
    assert started == ["preemption-ns/p"] and plugin.victims == {1: 1}


def budget(allowed: int, **labels: str) -> Object:
    return {
        "metadata": {"name": "b", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def on_one(profile_on: ProfileOn, waiting: Object, there: list[Object], budgets: list[Object]) -> Any:
    cluster = cluster_of([node("one")], there)
    profile, state, info = profile_on(cluster), CycleState(), PodInfo(waiting)
    profile.pre_filter(state, info, cluster.ordered())
    return candidate(
        Trial(state, info, cluster.nodes["one"], profile.filter_with_nominated, profile.pods_changed), budgets
    )


def test_budgets_are_respected_when_there_is_another_way(profile_on: ProfileOn) -> None:
    kept = pod("kept", on="one", labels={"app": "db"}, priority=1, requests={"cpu": "2"})
    free = pod("free", on="one", labels={"app": "web"}, priority=5, requests={"cpu": "2"})
    found = on_one(profile_on, pod(priority=10, requests={"cpu": "2"}), [kept, free], [budget(0, app="db")])
    assert [one.name for one in found.victims] == ["free"] and found.violations == 0
    found = on_one(profile_on, pod(priority=10, requests={"cpu": "4"}), [kept, free], [budget(0, app="db")])
    assert [one.name for one in found.victims] == ["free", "kept"] and found.violations == 1
    found = on_one(profile_on, pod(priority=10, requests={"cpu": "2"}), [kept, free], [budget(0)])
    assert found.violations == 1, "a budget with an empty selector is one of all pods"


def test_the_more_important_and_the_older_stay(profile_on: ProfileOn) -> None:
    there = [
        pod("old", on="one", priority=1, requests={"cpu": "1"}, status=started(1)),
        pod("young", on="one", priority=1, requests={"cpu": "1"}, status=started(9)),
        pod("dear", on="one", priority=2, requests={"cpu": "2"}, status=started(20)),
    ]
    found = on_one(profile_on, pod(priority=10, requests={"cpu": "1"}), there, [])
    assert [one.name for one in found.victims] == ["young"]


def test_anti_affinity_is_made_room_for(profile_on: ProfileOn) -> None:
    guard = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}  # fmt: skip
    there = [pod("guard", on="one", priority=1, affinity=guard), pod("other", on="one", priority=1)]
    found = on_one(profile_on, pod(labels={"app": "web"}, priority=10), there, [])
    assert [one.name for one in found.victims] == ["guard"]


def victims(*each: tuple[int, int]) -> tuple[PodInfo, ...]:
    made = [PodInfo(pod(f"v{n}", priority=p, status=started(s))) for n, (p, s) in enumerate(each)]
    return tuple(made)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Candidate("a", victims((9, 1), (9, 1)), 0), Candidate("b", victims((1, 1)), 1)),
        (Candidate("a", victims((2, 1), (2, 1)), 0), Candidate("b", victims((3, 1)), 0)),
        (Candidate("a", victims((3, 1), (1, 1)), 0), Candidate("b", victims((3, 1), (2, 1)), 0)),
        (Candidate("a", victims((-5, 1)), 0), Candidate("b", victims((-5, 1), (-5, 1)), 0)),
        (Candidate("a", victims((3, 9)), 0), Candidate("b", victims((3, 1)), 0)),
    ],
    ids=["budgets", "most important", "sum", "fewer, though negative", "started last"],
)
def test_where_least_is_lost(one: Candidate, other: Candidate) -> None:
    assert best([one, other]) is one and best([other, one]) is one


Pods = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=6)


@given(there=Pods, priority=st.integers(1, 12), wanted=st.integers(1, 8))
def test_victims_are_as_few_and_unimportant_as_can_be(there: Any, priority: int, wanted: int) -> None:
    room = 8
    pods, used = [], 0
    for number, (importance, cpu) in enumerate(there):
        if used + cpu <= room:
            used += cpu
            pods.append(pod(f"p{number}", on="one", priority=importance, requests={"cpu": str(cpu)}))
    waiting = pod("w", priority=priority, requests={"cpu": str(wanted)})

    def filters(state: CycleState, info: PodInfo, on: NodeInfo) -> Any:
        short = on.requested.get("cpu", 0) + info.requests["cpu"] > on.allocatable["cpu"]
        return candidate_refusal if short else None

    from sampan.scheduler.framework import unschedulable

    candidate_refusal = unschedulable("Insufficient cpu")
    info = cluster_of([node("one", cpu=str(room))], pods).nodes["one"]
    found = candidate(Trial(CycleState(), PodInfo(waiting), info, filters, lambda *_: None), [])
    lower = {p["metadata"]["name"]: p for p in pods if p["spec"]["priority"] < priority}
    kept = used - sum(int(p["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for p in lower.values())
    if not lower or kept + wanted > room:
        assert not isinstance(found, Candidate)
        return
    assert isinstance(found, Candidate)
    gone = {one.name for one in found.victims}
    assert gone <= set(lower)
    cpu = {name: int(p["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for name, p in lower.items()}
    left = used - sum(cpu[name] for name in gone)
    assert left + wanted <= room
    assert all(left + cpu[name] + wanted > room for name in gone), "nobody goes who could stay"
