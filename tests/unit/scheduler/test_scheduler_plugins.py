"""Filter and score plugins on nodes and pods made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sampan.scheduler.cluster_state import ClusterState, cluster_of
from sampan.scheduler.cycle import FEWEST_NODES, Cycles, Refusal, enough
from sampan.scheduler.framework import CycleState, Status
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo, requests_of
from sampan.scheduler.remembered import Answers
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import REQUIRED, node, pod, term

Placed = Callable[..., str]


@pytest.fixture
def chosen(profile_on: ProfileOn) -> Callable[..., NodeInfo | Refusal]:
    def choose(waiting: Object, cluster: ClusterState, version: tuple[int, int] = (1, 37)) -> NodeInfo | Refusal:
        found = Cycles(cluster).choose(profile_on(cluster, version), CycleState(), PodInfo(waiting))
        assert not isinstance(found, Status), found
        return found

    return choose


@pytest.fixture
def placed(chosen: Callable[..., NodeInfo | Refusal]) -> Placed:
    """Return the chosen node, or the message of FailedScheduling without what preemption adds."""

    def place(
        waiting: Object, nodes: list[Object], there: list[Object] | None = None, version: tuple[int, int] = (1, 37)
    ) -> str:
        found = chosen(waiting, cluster_of(nodes, there or []), version)
        return found.message if isinstance(found, Refusal) else found.name

    return place


def test_requests_are_the_sum_or_the_largest_init_container() -> None:
    asked: Object = {
        "spec": {
            "containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}},
                {"resources": {"limits": {"cpu": "0.5"}}},
            ],
            "initContainers": [
                {"resources": {"requests": {"cpu": "2"}}},
                {"restartPolicy": "Always", "resources": {"requests": {"memory": "1Mi"}}},
            ],
            "overhead": {"cpu": "10m"},
        }
    }
    assert requests_of(asked) == {"cpu": 2010, "memory": 2**30 + 2**20}


def test_an_init_container_runs_beside_the_sidecars_before_it() -> None:
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
    first = {"resources": {"requests": {"cpu": "2"}}}
    spec: Object = {"containers": [{"resources": {"requests": {"cpu": "500m"}}}], "initContainers": [sidecar, first]}
    assert requests_of({"spec": spec}) == {"cpu": 3000}
    assert requests_of({"spec": {**spec, "initContainers": [first, sidecar]}}) == {"cpu": 2000}


def test_what_is_said_of_the_whole_pod_counts() -> None:
    spec: Object = {
        "containers": [{"resources": {"requests": {"cpu": "1", "example.org/gpu": "1"}}}],
        "resources": {"requests": {"cpu": "3"}},
        "overhead": {"cpu": "10m"},
    }
    assert requests_of({"spec": spec}) == {"cpu": 3010, "example.org/gpu": 1}


@pytest.mark.parametrize(
    ("waiting", "message"),
    [
        (pod(requests={"cpu": "5"}), "1 Insufficient cpu."),
        (pod(requests={"cpu": "5", "memory": "9Gi"}), "1 Insufficient cpu, 1 Insufficient memory."),
        (pod(requests={"example.org/gpu": "1"}), "1 Insufficient example.org/gpu."),
        (pod(nodeSelector={"disk": "ssd"}), "1 node(s) didn't match Pod's node affinity/selector."),
        (pod(ports=[{"hostPort": 80}]), "1 node(s) didn't have free ports for the requested pod ports."),
    ],
)
def test_why_a_pod_has_no_node(waiting: Object, message: str, placed: Placed) -> None:
    there = [pod("taken", on="a", ports=[{"hostPort": 80}])]
    assert placed(waiting, [node("a")], there) == f"0/1 nodes are available: {message}"


@pytest.mark.parametrize(
    ("address", "clashes"), [(None, True), ("0.0.0.0", True), ("127.0.0.1", True), ("127.0.0.2", False)]
)
def test_a_port_is_taken_on_its_address_only(address: str | None, clashes: bool, placed: Placed) -> None:
    sidecar = {"restartPolicy": "Always", "ports": [{"hostPort": 80, "hostIP": "127.0.0.1"}], "image": "s"}
    there = [pod("taken", on="a", initContainers=[{**sidecar}])]
    port = {"hostPort": 80, **({"hostIP": address} if address else {})}
    assert (placed(pod(ports=[port]), [node("a")], there) != "a") is clashes
    assert placed(pod(ports=[{**port, "protocol": "UDP"}]), [node("a")], there) == "a"


@pytest.mark.parametrize(("policy", "outcome"), [("Ignore", "0/2"), ("Honor", "a")])
def test_tainted_nodes_are_domains_unless_taints_are_honoured(policy: str, outcome: str, placed: Placed) -> None:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "w"}}}
    waiting = pod(labels={"app": "w"}, topologySpreadConstraints=[{**spread, "nodeTaintsPolicy": policy}])
    nodes = [node("a"), node("b", taints=[{"key": "down", "effect": "NoSchedule"}])]
    assert placed(waiting, nodes, [pod("there", on="a", labels={"app": "w"})]).startswith(outcome)


def test_no_node_at_all(placed: Placed) -> None:
    assert placed(pod(), []) == "no nodes available to schedule pods"


def test_too_many_pods(placed: Placed) -> None:
    assert placed(pod(), [node("a", pods="1")], [pod("x", on="a")]) == "0/1 nodes are available: 1 Too many pods."
    finished = {**pod("x", on="a"), "status": {"phase": "Succeeded"}}
    assert placed(pod(), [node("a", pods="1")], [finished]) == "a"


def test_reasons_of_several_nodes_are_counted(placed: Placed) -> None:
    tainted = {"key": "team", "value": "b", "effect": "NoSchedule"}
    nodes = [node("a", cpu="1"), node("b", cpu="1"), node("c", taints=[tainted]), node("d", unschedulable=True)]
    assert placed(pod(requests={"cpu": "2"}), nodes) == (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu."
    )
    assert placed(pod(requests={"cpu": "2"}), nodes[2:3], version=(1, 34)) == (
        "0/1 nodes are available: 1 node(s) had untolerated taint {team: b}."
    )
    toleration = {"key": "team", "operator": "Equal", "value": "b", "effect": "NoSchedule"}
    assert placed(pod(requests={"cpu": "2"}, tolerations=[toleration]), nodes) == "c"


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["a", "b"], True), ("NotIn", ["a"], False), ("Exists", [], True), ("DoesNotExist", [], False),
        ("Gt", ["1"], False),
    ],
)  # fmt: skip
def test_node_affinity_expressions(operator: str, values: list[str], fits: bool, placed: Placed) -> None:
    term = {"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}, term]}}}
    assert (placed(pod(affinity=affinity), [node("n", labels={"zone": "a"})]) == "n") is fits


def test_node_affinity_by_field_and_number(placed: Placed) -> None:
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [field]}}}
    assert placed(pod(affinity=affinity), [node("a"), node("b")]) == "b"
    number = {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["8"]}]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [number]}}}
    assert placed(pod(affinity=affinity), [node("a", labels={"cores": "4"}), node("b", labels={"cores": "16"})]) == "b"


ZONES = [node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"})]


def test_anti_affinity_by_topology_both_ways(placed: Placed) -> None:
    alone = {"podAntiAffinity": {REQUIRED: [term("zone", app="db")]}}
    assert placed(pod(affinity=alone), ZONES, [pod("db", on="a1", labels={"app": "db"})]) == "b1"
    guard = pod("guard", on="b1", affinity={"podAntiAffinity": {REQUIRED: [term("zone", app="web")]}})
    assert placed(pod(labels={"app": "web"}), ZONES, [guard]).startswith("a")
    everywhere = [pod("x", on="a1", labels={"app": "db"}), pod("y", on="b1", labels={"app": "db"})]
    assert placed(pod(affinity=alone), ZONES, everywhere) == (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    )


def test_affinity_by_topology_and_the_first_of_a_group(placed: Placed) -> None:
    together = {"podAffinity": {REQUIRED: [term("zone", app="db")]}}
    assert placed(pod(affinity=together), ZONES, [pod("db", on="b1", labels={"app": "db"})]) == "b1"
    assert placed(pod(affinity=together), ZONES).endswith("3 node(s) didn't match pod affinity rules.")
    assert placed(pod(affinity=together, labels={"app": "db"}), ZONES) in ("a1", "a2", "b1")


def test_topology_spread_limits_the_skew(placed: Placed) -> None:
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
               "labelSelector": {"matchLabels": {"app": "web"}}}]  # fmt: skip
    there = [pod("1", on="a1", labels={"app": "web"})]
    waiting = pod(labels={"app": "web"}, topologySpreadConstraints=spread)
    assert placed(waiting, ZONES, there) == "b1"
    nowhere = [node("x")]
    assert placed(waiting, nowhere).endswith("pod topology spread constraints (missing required label).")
    soft = [{**spread[0], "whenUnsatisfiable": "ScheduleAnyway"}]
    assert placed(pod(labels={"app": "web"}, topologySpreadConstraints=soft), ZONES, there) == "b1"


def test_images_that_are_volumes_count_too(placed: Placed) -> None:
    volumes = [{"name": "model", "image": {"reference": "model:1"}}]
    there = node("b", images=[{"names": ["model:1"], "sizeBytes": 2**30}])
    assert placed(pod(volumes=volumes), [node("a"), there]) == "b"


def test_scores_prefer_room_images_and_fewer_siblings(placed: Placed) -> None:
    assert placed(pod(requests={"cpu": "1"}), [node("small", cpu="2"), node("large", cpu="32")]) == "large"
    assert placed(pod(), [node("a"), node("b", images=[{"names": ["web:1"], "sizeBytes": 2**30}])]) == "b"


def test_soft_taints_and_preferred_affinity(placed: Placed) -> None:
    soft = {"key": "old", "value": "", "effect": "PreferNoSchedule"}
    assert placed(pod(), [node("a", taints=[soft]), node("b")]) == "b"
    liked = {"weight": 50, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [liked]}}
    assert placed(pod(affinity=affinity), [node("a"), node("b", labels={"disk": "ssd"})]) == "b"


def test_of_very_many_nodes_some_are_compared(chosen: Callable[..., NodeInfo | Refusal], profile_on: ProfileOn) -> None:
    full = [node(f"full-{number}", pods="0") for number in range(5)]
    free = [node(f"n{number}") for number in range(300)]
    cluster = cluster_of([*full, *free])
    assert enough(305, 0) == max(305 * 48 // 100, FEWEST_NODES)
    cycles, profile = Cycles(cluster), profile_on(cluster)
    waiting = PodInfo(pod(requests={"cpu": "1"}))
    first = cycles.fitting(profile, CycleState(), waiting, Answers())
    second = cycles.fitting(profile, CycleState(), waiting, Answers())
    assert isinstance(first, list) and isinstance(second, list)
    assert len(first) == len(second) == enough(305, 0)
    assert not {one.name for one in first} & {one.name for one in second}, "each cycle begins with another"
    refused = chosen(pod(requests={"cpu": "64"}), cluster)
    assert isinstance(refused, Refusal) and "305 Insufficient cpu" in refused.message


@pytest.mark.parametrize(
    ("nodes", "percentage", "looked_for"),
    [(99, 0, 99), (100, 0, 100), (1000, 0, 420), (5000, 0, 500), (10000, 0, 500), (1000, 100, 1000), (1000, 70, 700),
     (1000, 1, 100)],
)  # fmt: skip
def test_how_many_nodes_are_looked_for(nodes: int, percentage: int, looked_for: int) -> None:
    assert enough(nodes, percentage) == looked_for


def test_of_equal_nodes_any_is_chosen(placed: Placed) -> None:
    """Else the first of many gets every pod until its score falls by a whole point."""
    nodes = [node(name, cpu="64", memory="256Gi") for name in "abcd"]
    assert {placed(pod(), nodes) for _ in range(100)} == set("abcd")
