"""Memory of their own for containers: who gets how much, what comes back when, and which settings go with a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import numa
from sampan.node.devices.allocation import NotEnough
from sampan.node.kubelet_config import ConfigFault, KubeletConfig, read
from sampan.node.memory_sets import MemorySets, share, wanted
from sampan.node.resources import linux_resources

MI = 1 << 20
HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def container(name: str, memory: str, **more: Any) -> dict[str, Any]:
    sizes = {"cpu": "100m", "memory": memory}
    return {"name": name, "resources": {"limits": sizes, "requests": sizes}, **more}


def pod(*containers: dict[str, Any], inits: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u"}, "spec": {"containers": list(containers), "initContainers": list(inits), **spec}}


def test_who_has_memory_of_his_own() -> None:
    paged = container("a", "1Mi")
    paged["resources"]["limits"] = {**paged["resources"]["limits"], "hugepages-2Mi": "4Mi"}
    assert wanted(pod(paged)) == {"a": {"memory": MI, "hugepages-2Mi": 4 * MI}}
    burstable = container("a", "2Mi")
    burstable["resources"]["requests"] = {"cpu": "100m", "memory": "1Mi"}
    assert wanted(pod(burstable)) == {}
    whole = {"limits": {"cpu": "1", "memory": "8Mi"}, "requests": {"cpu": "1", "memory": "8Mi"}}
    assert wanted(pod(container("a", "1Mi"), resources=whole)) == {}


def test_memory_is_taken_kept_and_given_back(tmp_path: Path) -> None:
    sets = MemorySets(tmp_path, {"memory": 10 * MI})
    sets.admit("u", pod(container("a", "6Mi")))
    assert (sets.of("u", "a"), sets.of("u", "other"), sets.of("v", "a")) == ("0", "", "")
    assert linux_resources(container("a", "6Mi"), memory=sets.of("u", "a")).cpuset_mems == "0"
    with pytest.raises(NotEnough, match="no NUMA nodes with enough memory is available"):
        sets.admit("v", pod(container("a", "5Mi")))
    again = MemorySets(tmp_path, {"memory": 10 * MI})
    again.adopt("u")
    with pytest.raises(NotEnough):
        again.admit("v", pod(container("a", "5Mi")))
    again.release("u")
    again.admit("v", pod(container("a", "10Mi")))
    with pytest.raises(NotEnough):
        again.admit("w", pod({**container("a", "0"), "resources": paged("2Mi")}))


def paged(size: str) -> dict[str, Any]:
    sizes = {"cpu": "100m", "memory": "1", "hugepages-2Mi": size}
    return {"limits": sizes, "requests": sizes}


def test_what_init_containers_had_is_their_followers_and_then_everybodys(tmp_path: Path) -> None:
    sets = MemorySets(tmp_path, {"memory": 10 * MI})
    sidecar = container("s", "1Mi", restartPolicy="Always")
    made = pod(container("a", "2Mi"), container("b", "3Mi"), inits=(sidecar, container("i", "8Mi")))
    sets.admit("u", made)
    one = pod(container("a", "2Mi"))
    with pytest.raises(NotEnough):
        sets.admit("v", one)
    sets.begin("u", made, "i")
    with pytest.raises(NotEnough):
        sets.admit("v", one)
    sets.begin("u", made, "a")
    sets.admit("v", pod(container("a", "4Mi")))
    assert sets.of("u", "i") == "0", "it may run once more, with its pod's sandbox"
    with pytest.raises(NotEnough):
        sets.admit("w", pod(container("a", "1Mi")))


sizes = st.integers(1, 9)


@given(st.lists(st.tuples(sizes, st.booleans()), max_size=4), st.lists(sizes, min_size=1, max_size=3))
def test_a_pod_takes_what_the_scheduler_counts(inits: list[tuple[int, bool]], mains: list[int]) -> None:
    """The largest of: an ordinary init container beside the sidecars before it, and all that run for long."""
    holders = tuple(
        container(f"i{n}", f"{size}Mi", **({"restartPolicy": "Always"} if long else {}))
        for n, (size, long) in enumerate(inits)
    )
    made = pod(*(container(f"m{n}", f"{size}Mi") for n, size in enumerate(mains)), inits=holders)
    taken = share(made, wanted(made), {"memory": 1 << 40})
    total = sum(given["memory"] for given in taken.values()) // MI
    beside, most = 0, 0
    for size, long in inits:
        most = max(most, beside + size)
        beside += size if long else 0
    assert total >= max(most, beside + sum(mains))
    if not any(long for _, long in inits):
        assert total == max(most, sum(mains))


def test_without_the_policy_nobody_has_his_own(tmp_path: Path) -> None:
    sets = MemorySets(tmp_path, numa.memory_of(KubeletConfig(), {"memory": "1Gi"}))
    sets.admit("u", pod(container("a", "8Gi")))
    assert sets.of("u", "a") == ""


def static(**more: Any) -> dict[str, Any]:
    return {**HEAD, "memoryManagerPolicy": "Static", "kubeReserved": {"memory": "100Mi"}, **more}


def test_what_pods_may_have() -> None:
    config = read(static(reservedMemory=[{"numaNode": 0, "limits": {"memory": "200Mi"}}]))
    numa.check(config, [0], "1Gi")
    there = {"memory": "1Gi", "hugepages-2Mi": "64Mi", "pods": "9"}
    assert numa.memory_of(config, there) == {"memory": (1024 - 64 - 200) * MI, "hugepages-2Mi": 64 * MI}


@pytest.mark.parametrize(
    ("given", "nodes", "message"),
    [
        ({}, [0], 'the total amount "0" of type "memory" is not equal to the value "209715200"'),
        (
            {"reservedMemory": [{"numaNode": 1, "limits": {"memory": "200Mi"}}]},
            [0],
            "a NUMA node 1 that does not exist",
        ),
        ({"reservedMemory": [{"numaNode": 0, "limits": {"memory": "200Mi"}}]}, [0, 1], "a machine with 2 NUMA nodes"),
        ({"memoryManagerPolicy": "None", "topologyManagerPolicy": "restricted"}, [0, 1], "a machine with 2 NUMA nodes"),
        ({"kubeReserved": {}, "evictionHard": {}}, [0], "needs reservedMemory"),
    ],
)
def test_settings_that_do_not_go_with_the_machine_are_refused(
    given: dict[str, Any], nodes: list[int], message: str
) -> None:
    with pytest.raises(ConfigFault, match=message):
        numa.check(read(static(**given)), nodes, "1Gi")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reservedMemory": [{"numaNode": 0, "limits": {"cpu": "1"}}]}, "none zero and none twice"),
        ({"reservedMemory": [{"numaNode": 0, "limits": {"memory": "0"}}]}, "none zero and none twice"),
        ({"reservedMemory": [{"numaNode": 0, "limits": {"memory": "1"}}] * 2}, "none zero and none twice"),
        (
            {"reservedMemory": [{"numaNode": 0, "limits": {"memory": "1"}}], "memoryManagerPolicy": "None"},
            "Static only",
        ),
        ({"memoryManagerPolicy": "static"}, "must be one of None, Static"),
        ({"topologyManagerPolicy": "strict"}, "must be one of none, best-effort, restricted, single-numa-node"),
        ({"topologyManagerScope": "node"}, "must be one of container, pod"),
    ],
)
def test_settings_that_are_wrong_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigFault, match=message):
        read(static(**given))
