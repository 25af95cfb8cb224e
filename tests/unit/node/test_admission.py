"""Which pods a node takes in, what it says of the others, and who makes room for a critical one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import preemption
from sampan.node.admission import Wait, judge
from sampan.node.allocations import Allocations
from sampan.node.cpu_sets import CpuSets
from sampan.node.devices.allocation import NotEnough, NotLocal, near
from sampan.node.eviction_plan import is_critical
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.memory_sets import MemorySets
from sampan.node.pod_admission import Missing
from sampan.node.resources import qos_class
from sampan.security.host import ANY

NODE = {"cpu": "2", "memory": "4Gi", "pods": "3", "ephemeral-storage": "10Gi"}
CRITICAL = 2_000_000_000


def pod(uid: str, cpu: str = "", memory: str = "", *, limits: bool = False, **spec: Any) -> dict[str, Any]:
    asked = {name: amount for name, amount in (("cpu", cpu), ("memory", memory)) if amount}
    resources = {"requests": asked, **({"limits": asked} if limits else {})} if asked else {}
    container = {"name": "main", "image": "x", "resources": resources}
    return {"metadata": {"uid": uid, "name": uid, "namespace": "n"}, "spec": {"containers": [container], **spec}}


class NodeOfTests:
    """A node's context with real allocations; ``ended`` are the pods that it was told to end."""

    def __init__(self, folder: Path, **node: Any) -> None:
        self.known: dict[str, Any] = {"metadata": {"name": "n1", "labels": {"disk": "ssd"}}, **node}
        self.fresh = self.known
        self.ended: list[tuple[str, str, str]] = []
        self.gone: set[str] = set()
        self.short: str = ""
        allocations = Allocations(folder, lambda: NODE, lambda: None)
        self.context: Any = SimpleNamespace(
            node_name="n1",
            node=lambda: self.known,
            client=SimpleNamespace(get=self.get),
            host=ANY,
            kubelet=KubeletConfig(),
            pressures=tuple,
            shutting_down=False,
            allocatable=NODE,
            allocations=allocations,
            devices=SimpleNamespace(admit=self.give, release=lambda uid: None, capacity={}),
            cpus=CpuSets(folder, 0, lambda: None),
            memory=MemorySets(folder, None),
            release=lambda uid: None,
            end_pod=lambda *words: self.ended.append(words),
            is_gone=lambda uid: uid in self.gone,
            is_ending=lambda uid: any(uid == one for one, _, _ in self.ended),
        )

    async def get(self, resource: Any, name: str) -> Any:
        return self.fresh

    async def give(self, uid: str, pod: Any) -> None:
        if self.short:
            raise NotEnough(self.short)

    async def judge(self, pod: Any, *, began: bool = False) -> Any:
        return await judge(self.context, pod, began=began)


async def test_pods_that_do_not_fit_are_refused_in_the_kubelets_words(tmp_path: Path) -> None:
    node = NodeOfTests(tmp_path)
    assert await node.judge(pod("a", "1500m")) is None
    refused = await node.judge(pod("b", "600m", "5Gi"))
    text = "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
    assert refused == ("OutOfcpu", text)
    assert (await node.judge(pod("b", memory="5Gi"))).reason == "OutOfmemory"
    whole = pod("c")
    whole["spec"]["containers"][0]["resources"] = {"limits": {"example.com/gpu": "1"}}
    assert await node.judge(whole) is None, "somebody else's to judge"
    node.known = {**node.known, "status": {"allocatable": {"example.com/gpu": "1"}}}
    another = {**whole, "metadata": {**whole["metadata"], "uid": "d"}}
    assert (await node.judge(another)).reason == "OutOfexample.com/gpu"
    node.context.allocations.release("c")
    node.context.allocations.release("a")
    assert await node.judge(pod("b", "600m")) is None
    port = [{"containerPort": 80, "hostPort": 80}]
    first, second = pod("e"), pod("f")
    for one in (first, second):
        one["spec"]["containers"][0]["ports"] = port
    assert await node.judge(first) is None
    text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert await node.judge(second) == ("NodePorts", text)
    assert await node.judge(pod("g")) is None
    text = "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    assert await node.judge(pod("h")) == ("OutOfpods", text)


async def test_pods_that_belong_elsewhere_are_refused(tmp_path: Path) -> None:
    node = NodeOfTests(tmp_path, spec={"taints": [{"key": "gone", "effect": "NoExecute"}]})
    tolerations = [{"operator": "Exists"}]
    text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    chosen = pod("a", nodeSelector={"disk": "tape"}, tolerations=tolerations)
    assert await node.judge(chosen) == ("NodeAffinity", text)
    node.fresh = {"metadata": {"name": "n1", "labels": {"disk": "tape"}}}
    assert await node.judge(chosen) is None, "the node was given another label a moment ago"
    text = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    assert await node.judge(pod("b")) == ("TaintToleration", text)
    static = pod("c")
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert await node.judge(static) is None
    assert await node.judge(pod("d"), began=True) is None, "what runs here is not asked again"
    assert (await node.judge(pod("e", os={"name": "windows"}))).reason == "PodOSNotSupported"
    node.context.shutting_down = True
    assert await node.judge(pod("f")) == ("NodeShutdown", "Pod was rejected as the node is shutting down.")


async def test_devices_that_are_not_there_fail_the_pod(tmp_path: Path) -> None:
    node = NodeOfTests(tmp_path)
    node.short = "requested number of devices unavailable for example.com/lamp. Requested: 2, Available: 1"
    assert await node.judge(pod("a")) == (
        "UnexpectedAdmissionError",
        "Allocate failed due to requested number of devices unavailable for example.com/lamp. Requested: 2, Available: 1, "
        "which is unexpected",
    )
    assert not node.context.allocations.knows("a")


async def test_a_critical_pod_is_given_room(tmp_path: Path) -> None:
    node = NodeOfTests(tmp_path)
    for one in (pod("small", "500m"), pod("large", "1200m"), pod("best")):
        assert await node.judge(one) is None
    vital = pod("vital", "1800m", priority=CRITICAL)
    assert await node.judge(vital) is Wait.FOR_ROOM
    told = ("Preempting", "Preempted in order to admit critical pod")
    assert node.ended == [("large", *told), ("small", *told)], "and their places as pods are enough"
    assert await node.judge(vital) is Wait.FOR_ROOM and len(node.ended) == 2, "they are still going"
    node.context.allocations.release("large")
    assert await node.judge(vital) is Wait.FOR_ROOM and len(node.ended) == 2
    node.context.allocations.release("small")
    assert await node.judge(vital) is None and node.context.allocations.knows("vital")
    refused = await node.judge(pod("huge", "9", priority=CRITICAL))
    assert refused.reason == "UnexpectedAdmissionError"
    assert refused.message.endswith("no set of running pods found to reclaim resources: [(res: cpu, q: 8800), ]")
    misplaced = await node.judge(pod("lost", "2", priority=CRITICAL, nodeSelector={"disk": "tape"}))
    assert misplaced.reason == "NodeAffinity" and len(node.ended) == 2, "nobody goes for one that cannot stay"


AMOUNTS = st.sampled_from(["", "100m", "300m", "700m", "1"])


@given(
    others=st.lists(st.tuples(AMOUNTS, st.booleans(), st.sampled_from([0, 5, CRITICAL]))),
    lacking=st.dictionaries(st.sampled_from(["cpu", "pods"]), st.integers(1, 2000), min_size=1),
)
def test_victims_are_enough_and_none_is_without_need(
    others: list[tuple[str, bool, int]], lacking: dict[str, int]
) -> None:
    made = [
        pod(str(at), cpu, cpu and "1Mi", limits=whole, priority=priority)
        for at, (cpu, whole, priority) in enumerate(others)
    ]
    missing = [Missing(name, amount, 0, 0) for name, amount in lacking.items()]
    try:
        chosen = preemption.victims(pod("x", priority=CRITICAL), made, missing)
    except preemption.NoVictims:
        assert preemption.without(lacking, [one for one in made if not is_critical(one)])
        return
    assert not any(is_critical(one) for one in chosen) and not preemption.without(lacking, chosen)
    spared = [one for one in made if one not in chosen and not is_critical(one)]
    lowest = [one for one in made if qos_class(one) == "BestEffort" and not is_critical(one)]
    if not preemption.without(lacking, lowest):
        assert all(qos_class(one) == "BestEffort" for one in chosen), spared


def test_only_the_less_important_give_way() -> None:
    high, low = pod("a", priority=10), pod("b", priority=5)
    assert preemption.may_displace(high, low) and not preemption.may_displace(low, high)
    assert not preemption.may_displace(high, pod("c"))
    assert preemption.may_displace(pod("d", priority=CRITICAL), high)


@pytest.mark.parametrize("count", [1, 2])
def test_the_pod_that_fits_best_goes(count: int) -> None:
    made = [pod("a", "100m"), pod("b", "900m"), pod("c", "400m")]
    chosen = preemption.fewest(made, {"cpu": 350 if count == 1 else 1200})
    assert [one["metadata"]["uid"] for one in chosen] == (["c"] if count == 1 else ["b", "c"])


async def test_a_pod_waits_for_the_place_of_one_that_was_deleted_without_grace(tmp_path: Path) -> None:
    """The pod that others had been preempted for was refused (``OutOfcpu``) while the last of them still ended, and those
    that a ReplicaSet made instead of them, one after the other."""
    node = NodeOfTests(tmp_path)
    port = {"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]}
    first, second = pod("a", "1500m"), pod("b", "1500m")
    for one in (first, second):
        one["spec"]["containers"][0] |= port
    assert await node.judge(first) is None
    assert (await node.judge(second)).reason == "OutOfcpu"
    node.gone.add("a")
    assert await node.judge(second) is Wait.FOR_ROOM
    assert (await node.judge(pod("c", "3"))).reason == "OutOfcpu", "it does not fit without it either"
    small = pod("d")
    small["spec"]["containers"][0] |= port
    assert await node.judge(small) is Wait.FOR_ROOM, "for the port"
    node.context.allocations.release("a")
    assert await node.judge(second) is None


@pytest.mark.parametrize(("policy", "aligned"), [("none", False), ("best-effort", False), ("restricted", True)])
async def test_what_cannot_be_had_locally_is_told_so(tmp_path: Path, policy: str, aligned: bool) -> None:
    """On one NUMA node too many CPUs are what a strict topology manager refuses; too little memory is not."""
    node = NodeOfTests(tmp_path)
    node.context.kubelet = KubeletConfig(topology_manager_policy=policy)
    node.context.cpus = CpuSets(tmp_path, 1, lambda: None, range(2))
    node.context.memory = MemorySets(tmp_path, {"memory": 1 << 30})
    refused = await node.judge(pod("a", "2", "1Mi", limits=True))
    if aligned:
        assert refused == ("TopologyAffinityError", "Resources cannot be allocated with Topology locality")
    else:
        assert refused.reason == "UnexpectedAdmissionError"
    short = await node.judge(pod("b", "100m", "2Gi", limits=True))
    assert short.reason == "UnexpectedAdmissionError"
    assert short.message.startswith("Allocate failed due to [memorymanager] failed to get the default NUMA affinity")


def test_devices_that_tell_where_they_are_must_be_near() -> None:
    assert near("x/y", 1, ["b", "a"], {"a"}) == {"b"}
    with pytest.raises(NotLocal, match=r"unavailable for x/y\. Requested: 2, Available: 1"):
        near("x/y", 2, ["b", "a"], {"a"})
