"""What must hold whatever the pods and nodes are: nothing overcommitted, no skew exceeded, nobody near whom they repel."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.scheduler.cluster_state import ClusterState, cluster_of
from sampan.scheduler.cycle import Cycles
from sampan.scheduler.framework import CycleState
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import REQUIRED, node, pod, term

ZONE = "topology.kubernetes.io/zone"
quick = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60, deadline=None
)


def place(profile_on: ProfileOn, cluster: ClusterState, pods: list[Object], gone: set[int]) -> None:
    """Place the pods one after the other; some of them go again at once."""
    profile, cycles = profile_on(cluster), Cycles(cluster)
    for number, obj in enumerate(pods):
        info = PodInfo(obj)
        found = cycles.choose(profile, CycleState(), info)
        if isinstance(found, NodeInfo):
            cluster.assume(info.placed_on(found.name))
            if number in gone:
                cluster.remove(info.key)


Requests = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
Gone = st.sets(st.integers(0, 20), max_size=4)


@quick
@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4),
    wanted=st.lists(Requests, max_size=20),
    gone=Gone,
)
def test_no_node_is_overcommitted(profile_on: ProfileOn, sizes: Any, wanted: Any, gone: set[int]) -> None:
    nodes = [
        node(f"n{number}", cpu=str(cpu), memory=f"{memory}Gi", pods=str(pods), more={"example.org/gpu": "1"})
        for number, (cpu, memory, pods) in enumerate(sizes)
    ]
    requests = [
        {"cpu": str(cpu), "memory": f"{memory}Gi", **({"example.org/gpu": str(gpu)} if gpu else {})}
        for cpu, memory, gpu in wanted
    ]
    cluster = cluster_of(nodes)
    place(profile_on, cluster, [pod(f"p{n}", requests=one) for n, one in enumerate(requests)], gone)
    for info in cluster.nodes.values():
        assert len(info.pods) <= info.allowed_pods
        for name, count in info.requested.items():
            assert 0 <= count <= info.allocatable.get(name, 0)
            assert count == sum(one.requests.get(name, 0) for one in info.pods.values()), "counted anew it is the same"


@quick
@given(zones=st.lists(st.integers(0, 2), min_size=1, max_size=5), count=st.integers(1, 15), skew=st.integers(1, 3),
       least=st.integers(1, 3))  # fmt: skip
def test_no_skew_is_exceeded(profile_on: ProfileOn, zones: list[int], count: int, skew: int, least: int) -> None:
    nodes = [node(f"n{n}", cpu="2", labels={ZONE: f"z{zone}"}) for n, zone in enumerate(zones)]
    spread = {"maxSkew": skew, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "minDomains": least,
              "labelSelector": {"matchLabels": {"app": "w"}}}  # fmt: skip
    pods = [
        pod(f"p{n}", labels={"app": "w"}, topologySpreadConstraints=[spread], requests={"cpu": "1"})
        for n in range(count)
    ]
    cluster = cluster_of(nodes)
    place(profile_on, cluster, pods, set())
    counts = {f"z{zone}": 0 for zone in zones}
    for info in cluster.nodes.values():
        counts[info.labels[ZONE]] += len(info.pods)
    fewest = min(counts.values()) if len(counts) >= least else 0
    assert max(counts.values()) - fewest <= skew


Apps = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "a", "b"])), max_size=12)


@quick
@given(zones=st.lists(st.integers(0, 3), min_size=1, max_size=5), apps=Apps, gone=Gone)
def test_nobody_is_near_whom_they_repel(profile_on: ProfileOn, zones: list[int], apps: Any, gone: set[int]) -> None:
    nodes = [node(f"n{n}", labels={ZONE: f"z{zone}"}) for n, zone in enumerate(zones)]
    pods = []
    for number, (app, repels) in enumerate(apps):
        affinity = {"podAntiAffinity": {REQUIRED: [term(ZONE, app=repels)]}} if repels else {}
        pods.append(pod(f"p{number}", labels={"app": app}, affinity=affinity))
    cluster = cluster_of(nodes)
    place(profile_on, cluster, pods, gone)
    repelling = dict(enumerate(apps))
    by_zone: dict[str, list[tuple[str, str]]] = {}
    for info in cluster.nodes.values():
        for one in info.pods.values():
            by_zone.setdefault(info.labels[ZONE], []).append(repelling[int(one.name[1:])])
    for there in by_zone.values():
        for at, (_, repels) in enumerate(there):
            assert not any(app == repels for place, (app, _) in enumerate(there) if place != at)
